"""Vision models of some ten thousand weights, for `transformers serve`: a LLaVA with a byte-level tokenizer.

Its layers do nothing, so that the last token alone decides the next one, and its replies are known beforehand.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIDE, PATCH, WIDTH = 28, 14, 32
BEGIN = "<reply>"
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}" + BEGIN
)


def save_vision_model(folder: Path, reply: str | None) -> Path:
    """Save a model that answers all with `reply`; None: one whose logits are all equal, so that it says AAAA..."""
    processor = _processor(reply or "unused")
    tokenizer = processor.tokenizer
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=8192,
                tie_word_embeddings=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
            vision_config=CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=SIDE,
                patch_size=PATCH,
                projection_dim=WIDTH,
            ),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            image_seq_length=(SIDE // PATCH) ** 2,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        (layer,) = model.model.language_model.layers
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        if reply is not None:
            embedded = model.model.language_model.embed_tokens.weight
            for axis, (last, following) in enumerate(((BEGIN, reply), (reply, tokenizer.eos_token))):
                embedded[tokenizer.convert_tokens_to_ids(last)] = torch.eye(WIDTH)[axis]
                model.lm_head.weight[tokenizer.convert_tokens_to_ids(following), axis] = 1
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor(reply: str) -> LlavaProcessor:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda letter: letter != "A")  # A is token 0
    core = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<pad>", "<eos>", "<image>", BEGIN])
    core.add_tokens([AddedToken(reply, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
