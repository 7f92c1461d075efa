"""Numbers become text one way: three digits that mean something, and no value that jumps between units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst import units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (2_490_000_000, "2.49 GB"),
        (12_345_678_901_234, "12.3 TB"),
        (5_000_000_000_000_000, "5000 TB"),
        (-512_345_678, "-512 MB"),
    ],
)
def test_bytes_read_as_three_digits_and_a_decimal_unit(count: int | None, text: str) -> None:
    assert units.format_bytes(count) == text


@given(st.integers(min_value=1000, max_value=10**15 - 10**13))
def test_bytes_always_show_three_digits(count: int) -> None:
    number = units.format_bytes(count).split()[0]
    assert len(number.replace(".", "")) == 3


@given(st.integers(min_value=0, max_value=10**14), st.integers(min_value=0, max_value=10**14))
def test_more_bytes_never_read_as_less(one: int, other: int) -> None:
    def read(text: str) -> float:
        number, unit = text.split()
        return float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)

    small, large = sorted((one, other))
    assert read(units.format_bytes(small)) <= read(units.format_bytes(large))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (0, "0"),
        (999, "999"),
        (1_000, "1.0K"),
        (999_499, "999K"),
        (999_500, "1.0M"),
        (9_949_999, "9.9M"),
        (9_950_000, "10M"),
        (134_515_008, "135M"),
        (999_885_952, "1.0B"),
        (3_836_021_760, "3.8B"),
        (30_532_122_624, "31B"),
        (1_040_000_000_000, "1.0T"),
    ],
)
def test_parameter_counts_read_as_people_say_them(count: int | None, text: str) -> None:
    assert units.format_count(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (512, "512"), (4000, "4000"), (8192, "8K"), (131_072, "128K"), (8193, "8193")],
)
def test_contexts_are_exact(count: int | None, text: str) -> None:
    assert units.format_tokens(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (75, "1:15"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (7503, "2:05:03"),
    ],
)
def test_times_never_round_up_to_sixty_or_a_thousand(seconds: float | None, text: str) -> None:
    assert units.format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "?"), (0.0, "0.0"), (0.62, "0.6"), (21.43, "21.4"), (99.94, "99.9"), (99.96, "100"), (130.2, "130")],
)
def test_rates_show_a_decimal_below_a_hundred(rate: float | None, text: str) -> None:
    assert units.format_tps(rate) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("123", 123),
        ("5GB", 5_000_000_000),
        ("2.5 gb", 2_500_000_000),
        ("800M", 800_000_000),
        ("1KiB", 1024),
        ("2gi", 2 * 2**30),
        ("1.5TB", 1_500_000_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, count: int) -> None:
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "five", "5 XB", "-1GB", "1e9", "5GB please", "٣GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        units.parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("8192", 8192), ("32k", 32768), ("32K", 32768), (" 128 k ", 131072), ("1m", 1048576), ("0.5k", 512)],
)
def test_a_context_is_counted_in_powers_of_two(text: str, tokens: int) -> None:
    assert units.parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "k", "32kb", "-1", "0.3k", "1.5", "٣", "many"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of tokens"):
        units.parse_tokens(text)


@pytest.mark.parametrize("tokens", [1024, 8192, 32768, 131072, 4000])
def test_a_context_is_read_as_it_is_shown(tokens: int) -> None:
    assert units.parse_tokens(units.format_tokens(tokens)) == tokens
