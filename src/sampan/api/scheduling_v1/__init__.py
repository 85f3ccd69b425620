"""Kinds of this group-version: one file each."""
