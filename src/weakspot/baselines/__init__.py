"""The rivals: networks and recipes of others, trained by the same loop and judged by the same evaluation."""
