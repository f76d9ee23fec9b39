"""One file a wrapped library: the only place that imports it."""
