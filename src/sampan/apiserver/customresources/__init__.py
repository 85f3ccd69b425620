"""Custom resources at the front door: definitions are followed, established, served, converted and cleaned up."""
