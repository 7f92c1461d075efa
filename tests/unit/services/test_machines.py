import json

import pytest

from localfirst.errors import UnknownNameError, UsageError
from localfirst.hwprobe.probe import probe
from localfirst.paths import profiles_dir
from localfirst.services.machines import find_machine, find_profiles, read_profiles


def test_without_a_profile_it_is_this_machine():
    assert find_machine().cpu == probe().cpu


def test_a_profile_is_known_by_its_name_and_by_its_path():
    by_path = find_machine(str(profiles_dir() / "raspberry-pi-5-8gb.json"))
    assert find_machine("raspberry-pi-5-8gb") == by_path
    assert by_path.cpu.arch == "arm64"


def test_every_profile_that_ships_is_read():
    machines = read_profiles()
    assert tuple(machines) == find_profiles()
    assert all(machine.memory.total_bytes for machine in machines.values())


def test_every_profile_names_where_its_values_come_from():
    records = {path.stem: json.loads(path.read_text("utf-8")) for path in profiles_dir().glob("*.json")}
    assert [name for name, record in records.items() if not (record.get("comment") and record.get("source"))] == []


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        find_machine("cray-1")
    assert caught.value.exit_code == 3
    assert caught.value.detail == "\n".join(find_profiles())


def test_a_file_that_is_no_record_is_refused(tmp_path):
    path = tmp_path / "machine.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match="not a recorded machine"):
        find_machine(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        find_machine(str(path))
