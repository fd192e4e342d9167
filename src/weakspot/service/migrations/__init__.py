"""How one version's store becomes the next one's."""
