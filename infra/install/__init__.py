"""The installation: ``__main__`` installs a group of packages, ``locks`` writes the locks."""
