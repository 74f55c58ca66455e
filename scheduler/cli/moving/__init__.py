"""What the commands share that move work between sites."""
