"""One file a version, in order; none is changed after its release."""
