"""Read the header of a GGUF file, strictly and in bounded memory, before a native library ever sees it."""

from localfirst.gguf.content import describe_content
from localfirst.gguf.header import GgufHeader, Skipped, Tensor
from localfirst.gguf.read import read_header, read_vocabulary

__all__ = ["GgufHeader", "Skipped", "Tensor", "describe_content", "read_header", "read_vocabulary"]
