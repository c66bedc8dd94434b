"""MLServer from PyPI, in an environment of its own, serving the same ONNX file by the same library."""
