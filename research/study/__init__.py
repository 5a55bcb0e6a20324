"""What ByTheWay does to diorama, measured: ``python -m research.study``."""
