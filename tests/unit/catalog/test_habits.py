"""The names that people bring along from Foundry Local, Ollama and Hugging Face, over the whole catalog.

Sources of the names: Azure/azureml-assets, assets/models/foundrylocal (ids and aliases); the tags of
ollama.com/library; repositories on huggingface.co.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Lf

from localfirst.catalog.names import find_keys, find_model, find_published, make_key, parse_name, parse_published
from localfirst.catalog.names import read_demands as read
from localfirst.catalog.parse import parse_catalog
from localfirst.errors import ModelFileError, UnknownNameError
from localfirst.services.library import find_entry
from localfirst.types import Model, ModelName

MODELS = parse_catalog((Path(__file__).parents[3] / "catalog.yaml").read_text(encoding="utf-8"))


def understand(text: str) -> str:
    """What a name means, as one would say it: `model@variant#backend on device`."""
    published = parse_published(text)
    asked = published or parse_name(text)
    model = find_model(find_published(MODELS, published) if published else MODELS, asked)
    asked = read(asked, model)
    parts = ("@", asked.quantization), ("#", asked.backend), (" on ", asked.device)
    return model.name + "".join(f"{mark}{word}" for mark, word in parts if word)


FOUNDRY = {
    "phi-4": "phi-4",
    "phi-4-mini": "phi-4-mini",
    "phi-4-mini-reasoning": "phi-4-mini-reasoning",
    "phi-4-reasoning": "phi-4-reasoning",
    "phi-3.5-mini": "phi-3.5-mini",
    "phi-3-mini-4k": "phi-3-mini-4k",
    "phi-3-mini-128k": "phi-3-mini-128k",
    "deepseek-r1-1.5b": "deepseek-r1-1.5b",
    "deepseek-r1-7b": "deepseek-r1-7b",
    "deepseek-r1-8b": "deepseek-r1-8b",
    "deepseek-r1-14b": "deepseek-r1-14b",
    "gpt-oss-20b": "gpt-oss-20b",
    "ministral-3-3b-instruct-2512": "ministral-3-3b",
    "mistral-7b-v0.2": "mistral-7b-v0.2",
    "mistral-nemo-12b-instruct": "mistral-nemo-12b",
    "olmo-3-7b-instruct": "olmo-3-7b",
    "qwen2.5-0.5b": "qwen2.5-0.5b",
    "qwen2.5-14b": "qwen2.5-14b",
    "qwen2.5-coder-3b": "qwen2.5-coder-3b",
    "qwen2.5-coder-7b": "qwen2.5-coder-7b",
    "qwen3-0.6b": "qwen3-0.6b",
    "qwen3-embedding-8b": "qwen3-embedding-8b",
    "qwen3-vl-4b-instruct": "qwen3-vl-4b",
    "qwen3.5-2b-text": "qwen3.5-2b",
    "qwen3.5-9b": "qwen3.5-9b",
    "smollm3-3b": "smollm3-3b",
    "Phi-4-mini-instruct-generic-cpu": "phi-4-mini on cpu",
    "phi-4-mini-instruct-generic-cpu": "phi-4-mini on cpu",
    "PHI-4-MINI-INSTRUCT-GENERIC-CPU:5": "phi-4-mini on cpu",
    "Phi-4-mini-instruct-generic-gpu": "phi-4-mini on gpu",
    "Phi-4-mini-instruct-cuda-gpu:1": "phi-4-mini on gpu",
    "phi-4-mini-instruct-openvino-npu:4": "phi-4-mini on npu",
    "phi-4-mini-instruct-vitis-npu": "phi-4-mini on npu",
    "Phi-4-mini-instruct-qnn-npu": "phi-4-mini on npu",
    "Phi-4-mini-reasoning-generic-cpu": "phi-4-mini-reasoning on cpu",
    "Phi-4-reasoning-cuda-gpu:1": "phi-4-reasoning on gpu",
    "Phi-4-trtrtx-gpu": "phi-4 on gpu",
    "Phi-4-generic-cpu:2": "phi-4 on cpu",
    "Phi-3.5-mini-instruct-generic-cpu": "phi-3.5-mini on cpu",
    "phi-3.5-mini-instruct-qnn-npu:3": "phi-3.5-mini on npu",
    "Phi-3-mini-4k-instruct-generic-gpu": "phi-3-mini-4k on gpu",
    "Phi-3-mini-128k-instruct-cuda-gpu": "phi-3-mini-128k on gpu",
    "qwen2.5-7b-instruct-generic-cpu:1": "qwen2.5-7b on cpu",
    "qwen2.5-0.5b-instruct-qnn-npu": "qwen2.5-0.5b on npu",
    "qwen2.5-coder-7b-instruct-cuda-gpu": "qwen2.5-coder-7b on gpu",
    "qwen3-0.6b-generic-cpu:4": "qwen3-0.6b on cpu",
    "qwen3-8b-openvino-gpu": "qwen3-8b on gpu",
    "qwen3.5-2b-text-generic-cpu:1": "qwen3.5-2b on cpu",
    "deepseek-r1-distill-qwen-7b-qnn-npu": "deepseek-r1-7b on npu",
    "DeepSeek-R1-Distill-Qwen-1.5B-trtrtx-gpu:2": "deepseek-r1-1.5b on gpu",
    "deepseek-r1-distill-llama-8b-generic-cpu:4": "deepseek-r1-8b on cpu",
    "Mistral-7B-Instruct-v0-2-openvino-npu:3": "mistral-7b-v0.2 on npu",
    "mistralai-Mistral-7B-Instruct-v0-2-generic-cpu": "mistral-7b-v0.2 on cpu",
    "gpt-oss-20b-cuda-gpu:1": "gpt-oss-20b on gpu",
    "gemma-4-e2b-it-generic-cpu:3": "gemma-4-e2b on cpu",
    "qwen3-embedding-0.6b-generic-gpu": "qwen3-embedding-0.6b on gpu",
    "ministral-3-3b-instruct-2512-generic-cpu": "ministral-3-3b on cpu",
    "smollm3-3b-cuda-gpu": "smollm3-3b on gpu",
}
OLLAMA = {
    "gemma3:270m": "gemma-3-270m",
    "gemma3:1b": "gemma-3-1b",
    "gemma3:4b": "gemma-3-4b",
    "gemma3:27b": "gemma-3-27b",
    "gemma3:4b-it-qat": "gemma-3-4b@qat-q4_0",
    "gemma3:12b-it-q4_K_M": "gemma-3-12b@q4_k_m",
    "gemma3:4b-it-q8_0": "gemma-3-4b@q8_0",
    "gemma3:4b-it-fp16": "gemma-3-4b@f16",
    "gemma3n:e4b": "gemma-3n-e4b",
    "gemma3n:e2b-it-q4_K_M": "gemma-3n-e2b@q4_k_m",
    "gemma4:e2b": "gemma-4-e2b",
    "gemma4:e4b-it-qat": "gemma-4-e4b@qat-q4_0",
    "gemma4:26b": "gemma-4-26b-a4b",
    "gemma4:31b-it-q4_K_M": "gemma-4-31b@q4_k_m",
    "functiongemma": "functiongemma-270m",
    "phi4": "phi-4",
    "phi4:latest": "phi-4",
    "phi4:14b": "phi-4",
    "phi4:14b-q8_0": "phi-4@q8_0",
    "phi4-mini": "phi-4-mini",
    "phi4-mini:3.8b": "phi-4-mini",
    "phi4-mini:3.8b-q4_K_M": "phi-4-mini@q4_k_m",
    "phi4-mini-reasoning": "phi-4-mini-reasoning",
    "phi4-reasoning:14b": "phi-4-reasoning",
    "phi3.5": "phi-3.5-mini",
    "phi3.5:3.8b": "phi-3.5-mini",
    "phi3:mini": "phi-3-mini-4k",
    "phi3:mini-4k": "phi-3-mini-4k",
    "phi3:mini-128k": "phi-3-mini-128k",
    "phi3:3.8b-mini-4k-instruct-q4_K_M": "phi-3-mini-4k@q4_k_m",
    "phi3:3.8b-mini-128k-instruct-q8_0": "phi-3-mini-128k@q8_0",
    "llama3.2:1b": "llama-3.2-1b",
    "llama3.2:3b": "llama-3.2-3b",
    "llama3.2:3b-instruct-q4_K_M": "llama-3.2-3b@q4_k_m",
    "llama3.2:1b-instruct-fp16": "llama-3.2-1b@f16",
    "llama3.1": "llama-3.1-8b",
    "llama3.1:latest": "llama-3.1-8b",
    "llama3.1:8b-instruct-q4_0": "llama-3.1-8b@q4_0",
    "qwen3:0.6b": "qwen3-0.6b",
    "qwen3:1.7b": "qwen3-1.7b",
    "qwen3:4b": "qwen3-4b",
    "qwen3:8b": "qwen3-8b",
    "qwen3:8b-q4_K_M": "qwen3-8b@q4_k_m",
    "qwen3:14b-fp16": "qwen3-14b@f16",
    "qwen3:32b": "qwen3-32b",
    "qwen3:30b": "qwen3-30b-a3b",
    "qwen3:30b-a3b-q8_0": "qwen3-30b-a3b@q8_0",
    "qwen3:4b-instruct": "qwen3-4b-instruct-2507",
    "qwen3:4b-instruct-2507-q4_K_M": "qwen3-4b-instruct-2507@q4_k_m",
    "qwen3-coder": "qwen3-coder-30b",
    "qwen3-coder:30b": "qwen3-coder-30b",
    "qwen3-coder:30b-a3b-q4_K_M": "qwen3-coder-30b@q4_k_m",
    "qwen3-coder-next": "qwen3-coder-next",
    "qwen3-next:80b": "qwen3-next-80b-a3b",
    "qwen3-vl:2b": "qwen3-vl-2b",
    "qwen3-vl:4b-instruct": "qwen3-vl-4b",
    "qwen3-vl:8b-instruct-q4_K_M": "qwen3-vl-8b@q4_k_m",
    "qwen3.5:0.8b": "qwen3.5-0.8b",
    "qwen3.5:35b": "qwen3.5-35b-a3b",
    "qwen3.6:27b": "qwen3.6-27b",
    "qwen2.5:0.5b": "qwen2.5-0.5b",
    "qwen2.5:7b": "qwen2.5-7b",
    "qwen2.5:7b-instruct-q4_K_M": "qwen2.5-7b@q4_k_m",
    "qwen2.5-coder:7b": "qwen2.5-coder-7b",
    "qwen2.5-coder:1.5b": "qwen2.5-coder-1.5b",
    "qwen3-embedding:0.6b": "qwen3-embedding-0.6b",
    "deepseek-r1:1.5b": "deepseek-r1-1.5b",
    "deepseek-r1:7b": "deepseek-r1-7b",
    "deepseek-r1:14b": "deepseek-r1-14b",
    "deepseek-r1:7b-qwen-distill-q4_K_M": "deepseek-r1-7b@q4_k_m",
    "deepseek-r1:8b-llama-distill-q4_K_M": "deepseek-r1-8b@q4_k_m",
    "gpt-oss:20b": "gpt-oss-20b",
    "gpt-oss:120b": "gpt-oss-120b",
    "mistral:7b": "mistral-7b",
    "mistral:7b-instruct": "mistral-7b",
    "mistral:7b-instruct-v0.3-q4_K_M": "mistral-7b@q4_k_m",
    "mistral:7b-instruct-v0.2-q4_0": "mistral-7b-v0.2@q4_0",
    "mistral:v0.2": "mistral-7b-v0.2",
    "mistral-nemo": "mistral-nemo-12b",
    "mistral-nemo:12b": "mistral-nemo-12b",
    "ministral-3:8b": "ministral-3-8b",
    "devstral:24b": "devstral-small-2507",
    "devstral-small-2:24b": "devstral-small-2",
    "granite4:micro": "granite-4.0-micro",
    "granite4:micro-h": "granite-4.0-h-micro",
    "granite4:tiny-h": "granite-4.0-h-tiny",
    "granite4:7b-a1b-h": "granite-4.0-h-tiny",
    "granite4:small-h": "granite-4.0-h-small",
    "granite4:350m": "granite-4.0-350m",
    "granite4:1b-h": "granite-4.0-h-1b",
    "granite4:3b": "granite-4.0-micro",
    "smollm2:135m": "smollm2-135m",
    "smollm2:360m": "smollm2-360m",
    "smollm2:1.7b-instruct-q4_K_M": "smollm2-1.7b@q4_k_m",
    "tinyllama": "tinyllama-1.1b",
    "tinyllama:1.1b": "tinyllama-1.1b",
    "tinyllama:1.1b-chat": "tinyllama-1.1b",
    "lfm2:24b": "lfm2-24b-a2b",
    "lfm2.5:8b-a1b-q4_K_M": "lfm2.5-8b-a1b@q4_k_m",
    "nemotron-3-nano:4b": "nemotron-3-nano-4b",
    "nemotron-3-nano:30b": "nemotron-3-nano-30b-a3b",
    "olmo-3:7b": "olmo-3-7b",
    "llava:7b-v1.5-q4_K_M": "llava-1.5-7b@q4_k_m",
    "embeddinggemma": "embeddinggemma-300m",
    "embeddinggemma:300m-qat-q8_0": "embeddinggemma-300m@qat-q8_0",
    "nomic-embed-text": "nomic-embed-text-v1.5",
    "nomic-embed-text:v1.5": "nomic-embed-text-v1.5",
    "nomic-embed-text-v2-moe:latest": "nomic-embed-text-v2-moe",
    "mxbai-embed-large:335m": "mxbai-embed-large",
}
HUGGING_FACE = {
    "google/gemma-3-4b-it": "gemma-3-4b",
    "gemma-3-4b-it": "gemma-3-4b",
    "google/gemma-3-4b-it-qat-q4_0-gguf": "gemma-3-4b@qat-q4_0#llama.cpp",
    "gemma-3-4b-it-GGUF": "gemma-3-4b#llama.cpp",
    "google/gemma-3n-E4B-it": "gemma-3n-e4b",
    "google/gemma-4-26B-A4B-it": "gemma-4-26b-a4b",
    "google/embeddinggemma-300m": "embeddinggemma-300m",
    "microsoft/Phi-4-mini-instruct": "phi-4-mini",
    "Phi-4-mini-instruct": "phi-4-mini",
    "microsoft/Phi-4-mini-instruct-onnx": "phi-4-mini#onnx",
    "Phi-4-mini-instruct-GGUF": "phi-4-mini@q4_k_m#llama.cpp",
    "unsloth/Phi-4-mini-instruct-GGUF": "phi-4-mini@q4_k_m#llama.cpp",
    "microsoft/phi-4": "phi-4",
    "microsoft/Phi-3-mini-4k-instruct": "phi-3-mini-4k",
    "microsoft/Phi-4-multimodal-instruct": "phi-4-multimodal",
    "microsoft/bitnet-b1.58-2B-4T": "bitnet-b1.58-2b",
    "microsoft/bitnet-b1.58-2B-4T-gguf": "bitnet-b1.58-2b@i2_s#llama.cpp",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "ggml-org/gpt-oss-20b-GGUF": "gpt-oss-20b@mxfp4#llama.cpp",
    "meta-llama/Llama-3.2-1B-Instruct": "llama-3.2-1b",
    "meta-llama/Meta-Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Qwen/Qwen3-4B": "qwen3-4b",
    "Qwen/Qwen3-8B-AWQ": "qwen3-8b@awq",
    "Qwen3-14B-FP8": "qwen3-14b@fp8",
    "Qwen/Qwen3-4B-MLX-4bit": "qwen3-4b@mlx-4bit",
    "Qwen/Qwen3-4B-Instruct-2507": "qwen3-4b-instruct-2507",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "qwen3-coder-30b",
    "Qwen/Qwen3-Next-80B-A3B-Instruct": "qwen3-next-80b-a3b",
    "Qwen2.5-7B-Instruct-GGUF": "qwen2.5-7b@q4_k_m#llama.cpp",
    "Qwen2.5-7B-Instruct-GPTQ-Int4": "qwen2.5-7b@gptq",
    "Qwen/Qwen2.5-Coder-7B-Instruct": "qwen2.5-coder-7b",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral-7b",
    "mistralai/Ministral-3-8B-Instruct-2512-GGUF": "ministral-3-8b@q4_k_m#llama.cpp",
    "mistralai/Devstral-Small-2507_gguf": "devstral-small-2507@q4_k_m#llama.cpp",
    "mistralai/Mistral-Nemo-Instruct-2407": "mistral-nemo-12b",
    "mistralai/Mistral-Small-4-119B-2603": "mistral-small-4",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "smollm2-360m",
    "HuggingFaceTB/SmolLM3-3B": "smollm3-3b",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama-1.1b",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "deepseek-r1-7b",
    "ibm-granite/granite-4.0-h-tiny": "granite-4.0-h-tiny",
    "LiquidAI/LFM2.5-1.2B-Instruct": "lfm2.5-1.2b",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": "nemotron-nano-9b-v2",
    "nvidia/Llama-3.1-8B-Instruct-NVFP4": "llama-3.1-8b@nvfp4",
    "tiiuae/Falcon3-10B-Instruct-1.58bit": "falcon3-10b-1.58bit",
    "openbmb/MiniCPM-V-4_6": "minicpm-v-4.6",
    "liuhaotian/llava-v1.5-7b": "llava-1.5-7b",
    "nomic-ai/nomic-embed-text-v1.5": "nomic-embed-text-v1.5",
    "mlx-community/gemma-3-4b-it-qat-4bit": "gemma-3-4b@mlx-qat-4bit",
    "mlx-community/Llama-3.2-1B-Instruct-4bit": "llama-3.2-1b@mlx-4bit",
    "onnxruntime/Gemma-3-ONNX": "gemma-3-4b@int4-cpu#onnx",
}
PLAIN = {
    "Phi-4": "phi-4",
    "phi 4": "phi-4",
    "PHI4": "phi-4",
    "phi4mini": "phi-4-mini",
    "phi-4_mini": "phi-4-mini",
    "Phi 4 Mini Instruct": "phi-4-mini",
    "phi-4-mini-it": "phi-4-mini",
    "phi3.5-mini": "phi-3.5-mini",
    "gemma3-4b": "gemma-3-4b",
    "gemma-3-4b": "gemma-3-4b",
    "Gemma 3 4B": "gemma-3-4b",
    "gemma3_4b_it": "gemma-3-4b",
    "gemma-3:4b-it@qat-q4_0": "gemma-3-4b@qat-q4_0",
    "gemma3:4b-it-q8_0@qat-q4_0": "gemma-3-4b@qat-q4_0",
    "gemma3n-e2b": "gemma-3n-e2b",
    "gemma4-31b": "gemma-4-31b",
    "gemma-4-26b": "gemma-4-26b-a4b",
    "qwen3-0.6b": "qwen3-0.6b",
    "Qwen 3 4B": "qwen3-4b",
    "qwen-3-4b": "qwen3-4b",
    "qwen2.5-7b-instruct": "qwen2.5-7b",
    "qwen2_5-coder-7b": "qwen2.5-coder-7b",
    "llama3.2-1b": "llama-3.2-1b",
    "llama-3.2-3b-instruct": "llama-3.2-3b",
    "Llama 3.1 8B": "llama-3.1-8b",
    "gptoss-20b": "gpt-oss-20b",
    "gptoss:120b": "gpt-oss-120b",
    "gpt_oss_20b": "gpt-oss-20b",
    "mistral-7b-instruct": "mistral-7b",
    "mistral-7b-v0.3": "mistral-7b",
    "smollm3": "smollm3-3b",
    "bitnet": "bitnet-b1.58-2b",
    "bitnet-b1.58-2b-4t": "bitnet-b1.58-2b",
    "tinyllama-1.1b-chat": "tinyllama-1.1b",
    "granite-4.0-micro-instruct": "granite-4.0-micro",
    "falcon-h1": "falcon-h1-7b",
    "phi-4-mini#onnx": "phi-4-mini#onnx",
    "phi4-gguf#xllamacpp": "phi-4@q4_k#xllamacpp",
}
TYPED = FOUNDRY | OLLAMA | HUGGING_FACE | PLAIN


@pytest.mark.parametrize(("text", "meant"), TYPED.items(), ids=TYPED)
def test_a_name_from_elsewhere_means_the_model_and_demands_what_else_it_says(text: str, meant: str) -> None:
    assert understand(text) == meant


AMBIGUOUS = {
    "gemma": ["gemma-3-1b", "gemma-4-e2b", "gemma-3n-e4b"],
    "gemma3": ["gemma-3-270m", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b"],
    "gemma3:latest": ["gemma-3-270m", "gemma-3-27b"],
    "gemma3:it-qat": ["gemma-3-270m", "gemma-3-27b"],
    "google/gemma-3": ["gemma-3-270m", "gemma-3-27b"],
    "llama": ["llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b"],
    "llama3.2": ["llama-3.2-1b", "llama-3.2-3b"],
    "llama3": ["llama-3.2-1b", "llama-3.1-8b"],
    "phi": ["phi-4", "phi-3.5-mini"],
    "phi3": ["phi-3.5-mini", "phi-3-mini-4k", "phi-3-mini-128k"],
    "phi3:3.8b": ["phi-3-mini-4k", "phi-3-mini-128k"],
    "qwen3": ["qwen3-0.6b", "qwen3-32b", "qwen3-30b-a3b"],
    "qwen2.5-coder": ["qwen2.5-coder-0.5b", "qwen2.5-coder-14b"],
    "qwen3-generic-cpu": ["qwen3-0.6b", "qwen3-30b-a3b"],
    "mistral": ["mistral-7b", "mistral-7b-v0.2", "mistral-nemo-12b", "mistral-small-4"],
    "ministral": ["ministral-3-3b", "ministral-3-14b"],
    "devstral": ["devstral-small-2507", "devstral-small-2"],
    "deepseek-r1": ["deepseek-r1-1.5b", "deepseek-r1-14b"],
    "gpt-oss": ["gpt-oss-20b", "gpt-oss-120b"],
    "gptoss": ["gpt-oss-20b", "gpt-oss-120b"],
    "granite4": ["granite-4.0-micro", "granite-4.0-h-tiny"],
    "smollm2": ["smollm2-135m", "smollm2-1.7b"],
    "Gemma-3-ONNX": ["gemma-3-270m", "gemma-3-27b"],
    "DeepSeek-R1-Distill-ONNX": ["deepseek-r1-1.5b", "deepseek-r1-7b"],
    "mozilla-ai/llamafile_0.10": ["gemma-4-e4b", "qwen3.6-27b"],
}


@pytest.mark.parametrize(("text", "candidates"), AMBIGUOUS.items(), ids=AMBIGUOUS)
def test_a_name_that_fits_several_models_lists_them(text: str, candidates: list[str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        understand(text)
    listed = [line.partition(" ")[0] for line in (caught.value.detail or "").splitlines()]
    assert set(candidates) <= set(listed)
    assert caught.value.hint == f"Name one of them, such as {listed[0]}"


UNKNOWN = {
    "phi-5": "phi-4",
    "phi-4-mni": "phi-4-mini",
    "qwen3-4b-thinking-2507": "qwen3-4b-instruct-2507",
    "gemma2:2b": None,
    "llama3:8b": "llama-3.1-8b",
    "llama3.2-vision:11b": None,
    "qwen2.5vl:7b": None,
    "granite3.3:8b": None,
    "google/gemma-9-4b-it": None,
    "gemma-3-4b-it-abliterated": "gemma-3-4b",
    "Phi-4-mini-instruct-generic": "phi-4-mini",
}
"""Names of models that are in no catalog, each with the nearest one that is, where it has to be that."""


@pytest.mark.parametrize(("text", "near"), UNKNOWN.items(), ids=UNKNOWN)
def test_the_name_of_a_model_that_is_not_listed_never_means_another(text: str, near: str | None) -> None:
    with pytest.raises(UnknownNameError, match="No model named") as caught:
        understand(text)
    assert (caught.value.hint or "").startswith(f"Did you mean {near or ''}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llava:7b", "is not a whole name"),  # version 1.6 at Ollama, https://ollama.com/library/llava
        ("phi4-reasoning:plus", "has no size `plus`"),
        ("qwen3:4b-thinking", "has no size `4b-thinking`"),
        ("mistral-small", "is not a whole name"),  # version 3 at Ollama
    ],
)
def test_another_version_of_a_model_is_not_taken_for_it(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        understand(text)


@pytest.mark.parametrize("text", ["unsloth/gemma-3-4b-it-GGUF", "someone/phi-4", "models/phi-4", "mlx-community/phi-4"])
def test_the_copies_of_others_are_not_the_model(text: str) -> None:
    name = parse_published(text)
    assert name is not None
    assert find_published(MODELS, name) == ()


@pytest.mark.parametrize("text", ["./phi-4", "a/b/c", "~/m/phi-4", "C:\\m/phi-4", "google/", "/phi-4", "phi-4", "a /b"])
def test_what_is_no_name_behind_an_organisation_stays_a_path(text: str) -> None:
    assert parse_published(text) is None


FOUNDRY_IDS = [(one.repo, model.name) for model in MODELS for one in model.variants if one.host == "foundry"]


@pytest.mark.parametrize(("text", "name"), FOUNDRY_IDS, ids=[text for text, _ in FOUNDRY_IDS])
def test_every_foundry_id_means_its_model_on_its_device(text: str, name: str) -> None:
    device = text.partition(":")[0].rpartition("-")[2].lower()
    for spelling in (text, text.upper(), text.partition(":")[0]):
        assert understand(spelling) == f"{name} on {device}"


BUILDS = [(one.repo, model, one.name) for model in MODELS for one in model.variants if one.host == "huggingface"]
OWNERS = {repo: {model.name for other, model, _ in BUILDS if other == repo} for repo, _, _ in BUILDS}


@pytest.mark.parametrize("repo", [repo for repo, names in OWNERS.items() if len(names) == 1])
def test_every_repository_means_its_model_and_its_build_where_it_has_one(repo: str) -> None:
    builds = [(model.name, build) for other, model, build in BUILDS if other == repo]
    meant, _, build = understand(repo).partition("#")[0].partition("@")
    assert meant == builds[0][0]
    if len(builds) == 1:
        assert build in ("", builds[0][1]), "the model's own name demands no build"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_name_of_a_model_means_it_in_every_habit_and_demands_nothing_itself(model: Model) -> None:
    texts = [model.name, *model.aliases] + ([f"{model.family}:{model.size}"] if model.size else [])
    for text in texts:
        assert understand(text) == understand(text.upper()) == understand(text.replace("-", "_")) == model.name
        assert understand(f"{text.replace(':', '-')}-generic-cpu:7") == f"{model.name} on cpu"
        assert understand(f"{text}-q3_K_S").startswith(f"{model.name}@q3_k_s")
        assert understand(f"{text}-GGUF").split("@")[0].split("#")[0] == model.name


def test_no_spelling_means_two_models() -> None:
    keys = Counter(key for model in MODELS for key in find_keys(model))
    assert [key for key, count in keys.items() if count > 1] == []


@given(st.text())
def test_a_spelling_without_habits_has_none_left(text: str) -> None:
    assert make_key(make_key(text)) == make_key(text)


@given(st.sampled_from(list(TYPED)))
def test_what_a_name_was_understood_as_is_understood_the_same(text: str) -> None:
    full = understand(text).partition(" on ")[0]
    assert understand(full) == full


@given(st.from_regex(r"\A[a-z0-9:._ -]{1,40}\Z"), st.sampled_from(MODELS))
def test_an_ending_that_nobody_knows_demands_nothing(ending: str, model: Model) -> None:
    name = ModelName(name=f"{model.name}-{ending}-x")
    assert read(name, model) == name


def test_a_folder_goes_before_the_name_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    assert find_entry("google/gemma-3-4b-it").model.name == "gemma-3-4b"
    (tmp_path / "google" / "gemma-3-4b-it").mkdir(parents=True)
    with pytest.raises(ModelFileError):
        find_entry("google/gemma-3-4b-it")


SAID = {
    "mistral": (3, ["mistral-7b-v0.2", "mistral-nemo-12b", "mistral-small-4", "Name one of them, such as mistral-7b"]),
    "gemma3": (3, ["gemma-3-270m", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b"]),
    "phi-4-mni": (3, ["No model named `phi-4-mni`", "Did you mean phi-4-mini?"]),
    "gemma3:4b-it-q8_0": (3, ["`gemma-3-4b` has no build `@q8_0`", "@qat-q4_0"]),
    "unsloth/gemma-3-4b-it-GGUF": (2, ["There is no unsloth", "hf:unsloth/gemma-3-4b-it-GGUF"]),
    "Phi-4-mini-instruct-cuda-gpu": (9, ["cannot run on the gpu", "`lf run phi-4-mini` runs it where it can"]),
}


@pytest.mark.parametrize(("text", "expected"), SAID.items(), ids=SAID)
def test_a_name_that_cannot_be_served_ends_with_its_code_and_what_to_type(
    lf: Lf, text: str, expected: tuple[int, list[str]]
) -> None:
    code, sentences = expected
    done = lf("model", "explain", text, "--profile", "cloud-vm-no-gpu")
    assert done.returncode == code, done.stderr
    assert [sentence for sentence in sentences if sentence not in done.stderr] == []


def test_the_device_of_a_foundry_id_is_a_demand_that_an_option_overrules(lf: Lf) -> None:
    def place(*words: str) -> str:
        done = lf("model", "explain", *words, "--profile", "rtx-4090-desktop", "--json")
        return str(json.loads(done.stdout)["chosen"]["device"])

    assert place("phi-4-mini") == "gpu"
    assert place("Phi-4-mini-instruct-generic-cpu") == "cpu"
    assert place("Phi-4-mini-instruct-cuda-gpu:5") == "gpu"
    assert place("Phi-4-mini-instruct-cuda-gpu:5", "--device", "cpu") == "cpu"
    assert place("qwen2.5-7b-instruct") == "gpu"
    assert place("qwen2.5-7b-instruct-generic-cpu:4") == "cpu"
