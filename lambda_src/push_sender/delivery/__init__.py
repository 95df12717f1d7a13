"""Split recipients into batches and send them before one deadline."""
