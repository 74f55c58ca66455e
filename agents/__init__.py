"""The light agent at a site: reports what the site really has, applies what the hub signed."""
