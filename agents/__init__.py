"""The light agent that runs at a site: reports what the site really has, applies what the hub signed."""
