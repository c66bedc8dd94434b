"""The toolchain of the repository, made with the standard library only: environment, caches, native builds, steps."""
