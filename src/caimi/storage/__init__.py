"""Content stores: a folder, memory, HTTP client and server, Kubo; uploads and verified reads over them (spec 15 §9)."""
