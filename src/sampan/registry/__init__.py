"""A registry of images on this machine: pushed to by any client, pulled from by nodes."""
