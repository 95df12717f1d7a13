"""Write logs and metrics."""
