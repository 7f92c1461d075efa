import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.hwprobe.host import Host, load_record
from localfirst.hwprobe.probe import probe
from localfirst.hwprobe.recorder import RecordingHost, record_machine, scrub
from localfirst.hwprobe.windows import DISPLAY_CLASS

NAMES = {"ada", "enigma"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param("GPU-7f3b2c1d-aaaa-bbbb-cccc-0123456789ab", "GPU-00000000-0000-0000-0000-000000000000", id="UUID"),
        pytest.param("aa:BB:cc:01:02:03", "00:00:00:00:00:00", id="MAC address"),
        pytest.param("0::/docker/" + "ab12" * 16, "0::/docker/" + "0" * 32, id="container"),
        pytest.param("Serial\t\t: 10000000deadbeef\nModel\t: Pi", "Serial\t\t: 0\nModel\t: Pi", id="serial number"),
        pytest.param("/home/ada/x /Users/ada.l/y", "/home/user/x /Users/user/y", id="home folders"),
        pytest.param("user.slice/user-1001.slice/user@1001.service", "user.slice/user-1000.slice/user@1000.service",
                     id="number of the user"),
        pytest.param("enigma-1 of ada, and adamant", "private-1 of private, and adamant", id="names, as whole words"),
        pytest.param("00000000:01:00.0", "00000000:01:00.0", id="a PCI address is no MAC address"),
        pytest.param("flags : avx2 fma", "flags : avx2 fma", id="what is not private"),
    ],
)  # fmt: skip
def test_what_is_private_is_replaced(text, kept):
    assert scrub(text, NAMES) == kept


def test_keys_and_texts_are_replaced_alike():
    record = {"files": {"/sys/ada/max": "of ada"}, "values": {"list": ["ada", 7, None]}}
    assert scrub(record, NAMES) == {
        "files": {"/sys/private/max": "of private"},
        "values": {"list": ["private", 7, None]},
    }


def stable(machine):
    """A machine without what changes while one looks."""
    memory = machine.memory._replace(available_bytes=None)
    return machine._replace(memory=memory, disk_free_bytes=None)


def test_a_record_of_this_machine_replays_as_this_machine():
    record = record_machine()
    assert stable(probe(load_record(json.dumps(record)))) == stable(probe(Host()))


def test_what_a_recording_host_answers_is_what_its_record_answers(tmp_path):
    (tmp_path / "card0").mkdir()
    (tmp_path / "card0" / "vendor").write_text("0x1002\n")
    (tmp_path / "driver").symlink_to("../drivers/amdgpu")
    host = RecordingHost()

    def ask(host):
        return (
            host.glob(f"{tmp_path}/card*/vendor"),
            host.exists(f"{tmp_path}/card0"),
            host.exists(f"{tmp_path}/card1"),
            host.read(f"{tmp_path}/card0/vendor"),
            host.read(f"{tmp_path}/nothing"),
            host.link(f"{tmp_path}/driver"),
            host.run(("echo", "hello")),
            host.run(("no-such-command-here",)),
            host.value("metal.recommended_max_working_set_size"),
        )

    assert ask(load_record(json.dumps(host.to_record()))) != ask(host)
    assert ask(load_record(json.dumps(host.to_record()))) == ask(host)


def test_of_the_registry_is_recorded_what_the_probe_reads_and_a_record_can_hold(monkeypatch):
    entry = {
        "DriverDesc": "AMD Radeon RX 9070",
        "HardwareInformation.qwMemorySize": (16 << 30).to_bytes(8, "little"),
        "ProviderName": ["a list of texts"],
        "DriverVersion": None,
        "UserModeDriverName": ["a.dll", "b.dll"],
        "OwnerMark": "of ada",
    }
    monkeypatch.setattr(Host, "registry", lambda _, guid: {"0000": dict(entry)} if guid == DISPLAY_CLASS else {})
    host = RecordingHost()
    assert host.registry(DISPLAY_CLASS) == {"0000": entry}
    kept = {name: entry[name] for name in ("DriverDesc", "HardwareInformation.qwMemorySize")}
    assert load_record(json.dumps(host.to_record())).registry(DISPLAY_CLASS) == {"0000": kept}


@given(st.text(max_size=80))
def test_scrubbing_twice_changes_no_more(text):
    once = scrub(text, NAMES)
    assert scrub(once, NAMES) == once
