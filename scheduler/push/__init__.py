"""The push process of `kapok up`: started beside the embedded hub, and its keys admitted."""
