"""llama.cpp: by xllamacpp's server loop, and by llama-cpp-python's low-level API."""
