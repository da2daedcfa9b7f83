"""Models come from folders, GGUF files and the hub alike, onto the device asked for; what cannot work is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models import devices
from elm_rl.models.devices import choose_device, choose_dtype
from elm_rl.models.language_model import load_language_model, save_language_model
from tests.elm_rl.models.gguf_files import CHAT_TEMPLATE, TEXTS, small_llama, small_tokenizer, write_gguf


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = small_tokenizer()
    return write_gguf(small_llama(tokenizer), tokenizer, tmp_path_factory.mktemp("gguf") / "small.gguf")


def test_a_gguf_file_gives_the_model_and_the_tokenizer_that_were_written(gguf_file: Path) -> None:
    tokenizer = small_tokenizer()
    original = small_llama(tokenizer)
    model, its_tokenizer = load_language_model(gguf_file)
    ids = tokenizer.encode(TEXTS[0])
    assert its_tokenizer.encode(TEXTS[0], add_special_tokens=False) == ids
    assert its_tokenizer.decode(ids) == TEXTS[0]
    assert len(its_tokenizer) == len(tokenizer) == model.config.vocab_size  # transformers adds an end mark to any file
    assert its_tokenizer.eos_token_id == tokenizer.eos_token_id
    assert its_tokenizer.chat_template == CHAT_TEMPLATE
    with torch.no_grad():
        ours, theirs = (net(torch.tensor([ids])).logits for net in (original, model))
    torch.testing.assert_close(ours, theirs)


def test_a_quantized_gguf_file_is_unpacked_trains_and_is_saved_as_a_folder(gguf_file: Path, tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    original = small_llama(tokenizer)
    packed = write_gguf(original, tokenizer, tmp_path / "packed.gguf", quantized=True)
    assert packed.stat().st_size < 0.6 * gguf_file.stat().st_size
    model, its_tokenizer = load_language_model(str(packed))
    ids = torch.tensor([tokenizer.encode(TEXTS[0])])
    before = model(ids, labels=ids)
    assert 0 < (before.logits - original(ids).logits).abs().max() < 0.01
    before.loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
        trained = model(ids, labels=ids)
    assert trained.loss < before.loss
    save_language_model(model, its_tokenizer, tmp_path / "saved")
    again, same_tokenizer = load_language_model(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again(ids).logits, trained.logits)
    assert same_tokenizer.chat_template == CHAT_TEMPLATE


def test_what_is_no_model_is_one_sentence(gguf_file: Path, tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    whole = gguf_file.read_bytes()
    cut, other, bare = tmp_path / "cut.gguf", tmp_path / "other.gguf", tmp_path / "bare.gguf"
    cut.write_bytes(whole[: len(whole) // 2])
    other.write_bytes(b"PK" + whole)
    write_gguf(small_llama(tokenizer), None, bare)
    bert, t5, pickled = tmp_path / "bert", tmp_path / "t5", tmp_path / "pickled"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(bert)
    tokenizer.save_pretrained(bert)
    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_ff=16, num_layers=1, num_heads=1)
    T5ForConditionalGeneration(config).save_pretrained(t5)
    tokenizer.save_pretrained(t5)
    model = small_llama(tokenizer)
    save_language_model(model, tokenizer, pickled)
    (pickled / "model.safetensors").unlink()
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    for source, words in {
        tmp_path / "nowhere.gguf": "There is no GGUF file",
        tmp_path / "nowhere": "There is no model folder",
        "./nowhere": "There is no model folder",
        "": "No model is named",
        cut: "The GGUF file '.*cut.gguf' cannot be read: .*get it anew",
        other: "is no GGUF file",
        bare: "tokenizer",
        gguf_file.parent: "name the file in it: '.*small.gguf'",
        pickled / "config.json": "is a file; give a model folder",
        bert: "holds a BertForMaskedLM, which is no causal language model",
        t5: "holds a T5ForConditionalGeneration, which is no causal language model",
        pickled: r"pickles \(pytorch_model.bin\)",
        "nobody/nothing": "No model 'nobody/nothing' could be loaded: .*check the name and the connection",
        "nothing": "it is no folder here",
    }.items():
        with pytest.raises(ElmError, match=words) as caught:
            load_language_model(source)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")


@pytest.mark.parametrize("setting", [{"device": "gpu"}, {"device": "cuda:99"}, {"dtype": "int8"}])
def test_a_device_or_dtype_that_is_not_there_is_one_sentence(gguf_file: Path, setting: dict[str, str]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(ConfigError, match=f"{name} is '{value}'; expected auto") as caught:
        load_language_model(gguf_file, **setting)
    assert "\n" not in str(caught.value)


def test_models_come_in_the_dtype_asked_for(gguf_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    save_language_model(*load_language_model(gguf_file), folder)
    for source in (gguf_file, folder):
        assert {p.dtype for p in load_language_model(source)[0].parameters()} == {torch.float32}
        assert {p.dtype for p in load_language_model(source, dtype="bfloat16")[0].parameters()} == {torch.bfloat16}


def test_device_and_dtype_are_chosen_by_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = (small_llama(small_tokenizer(), hidden=hidden).config for hidden in (128, 576))
    cpu, cuda, mps = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
    for native in (True, False):
        monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda native=native: native)
        assert choose_dtype("auto", cpu, wide) == (torch.bfloat16 if native else torch.float32)
        assert choose_dtype("auto", cpu, narrow) == torch.float32
        assert choose_dtype("float16", cpu, wide) == torch.float16
    assert choose_dtype("auto", mps, wide) == torch.float32
    monkeypatch.setattr(devices, "_has_mps", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (choose_device(), choose_device("cpu")) == (mps, cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device() == choose_device("cuda") == cuda
    assert choose_device("cuda:1") == torch.device("cuda:1")
    for capability, expected in (((8, 0), torch.bfloat16), ((7, 5), torch.float32)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, capability=capability: capability)
        assert choose_dtype("auto", cuda, narrow) == expected
