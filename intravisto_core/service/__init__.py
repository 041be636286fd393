"""One model for many: engines behind HTTP, in one process or over a cluster. Needs the extra `serve`."""
