"""From artifacts to what a person decides on."""
