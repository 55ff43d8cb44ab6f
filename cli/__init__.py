"""What people type and what they read: the command line."""
