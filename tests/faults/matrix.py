"""The faults to survive, a row each, and the tests that hold them. docs/faults.md is made of it.

    python -m tests.faults            # plays every row at length, and writes docs/faults.md

The tests themselves stand where what they harm is tested; a row names them. Numbers stay.
"""

import re
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "faults.md"

DAMAGE = "faults/test_damage"
DISK = "faults/test_disk"
FILES = "faults/test_filesystems"
BULK = "faults/test_bulk"
KILL = "faults/test_kill"
LENGTH = "faults/test_at_length"
LOGS = "faults/test_index_files"
OTHERS = "faults/test_processes"
REFUSALS = "faults/test_refusals"
FUZZ = "store/test_fuzz"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault."""

    number: int
    fault: str
    must: str
    """What must happen."""
    tests: tuple[str, ...]
    """`<folder>/<module>::<test>` below tests/; all of a test's parameters."""


def row(number: int, fault: str, must: str, *tests: str) -> Row:
    return Row(number, fault, must, tests)


ROWS: tuple[Row, ...] = (
    row(
        1,
        "kill -9 at random times",
        "no wrong byte; only what was still queued is lost",
        f"{KILL}::test_killed_again_and_again_at_full_speed",
        f"{LENGTH}::test_killed_two_hundred_times",
        "e2e/test_kill::test_what_was_open_is_a_prefix",
        "e2e/test_kill::test_what_was_finished_is_complete",
    ),
    row(
        2,
        "kill -9 at the n-th system call of a kind",
        "the same",
        f"{KILL}::test_killed_at_the_nth_call",
        f"{LENGTH}::test_killed_at_each_call",
    ),
    row(
        3,
        "kill -9 in recovery, again and again",
        "the next start makes good what the last one began",
        f"{KILL}::test_killed_in_recovery_again_and_again",
        f"{KILL}::test_what_was_synced_and_not_committed_is_there_at_the_first_start",
        "e2e/test_kill::test_a_further_restart_changes_nothing",
    ),
    row(
        4,
        "power cut on ext4",
        "no committed record is lost, no row points at nothing",
        f"{FILES}::test_a_power_cut_costs_no_record_that_was_committed[ext4]",
    ),
    row(
        5,
        "power cut on xfs and btrfs",
        "the same",
        f"{FILES}::test_a_power_cut_costs_no_record_that_was_committed[xfs]",
        f"{FILES}::test_a_power_cut_costs_no_record_that_was_committed[btrfs]",
    ),
    row(
        6,
        "no space left",
        "losses are counted, the proxy goes on, recording resumes alone",
        f"{DISK}::test_a_full_disk_costs_only_what_passed_while_it_was_full",
        f"{DISK}::test_a_store_on_a_full_disk_is_unavailable_not_broken",
        "store/test_quarantine::test_a_full_disk_stops_no_start",
    ),
    row(
        7,
        "no space left for the index alone",
        "rows wait and are all there later",
        f"{DISK}::test_injected_errors_end_no_thread_and_make_no_wrong_byte[pwrite64:error=ENOSPC:when=40..45]",
    ),
    row(
        8,
        "a sync fails",
        "the segment is sealed, what was not synced moves to another; the thread lives",
        f"{DISK}::test_a_failed_sync_moves_what_was_written_to_another_segment",
        f"{DISK}::test_injected_errors_end_no_thread_and_make_no_wrong_byte[fdatasync:error=EIO:when=3+5]",
        "store/test_segments::test_after_a_failed_sync_no_other_is_believed",
        "store/test_delta_records::test_records_whose_sync_failed_are_moved_with_their_bases",
    ),
    row(
        9,
        "a read fails",
        "one record is unreadable and says so; the list works",
        f"{DISK}::test_a_read_error_is_one_record_s_and_kills_nobody",
    ),
    row(
        10,
        "short writes, writes cut off by an error",
        "they are gone on with, or half a frame is taken back",
        f"{REFUSALS}::test_a_disk_that_takes_seven_bytes_at_a_time_takes_everything",
        "store/test_layout::test_a_short_write_is_gone_on_with",
        "store/test_parts::test_a_full_disk_leaves_whole_frames_and_can_be_tried_again",
        "store/test_segments::test_an_append_that_fails_half_way_moves_no_later_record",
    ),
    row(
        11,
        "no descriptors left",
        "nothing ends; what is not kept is counted, and it goes on alone",
        f"{REFUSALS}::test_without_descriptors_what_is_not_kept_is_counted_and_it_goes_on_alone",
        f"{DISK}::test_injected_errors_end_no_thread_and_make_no_wrong_byte[openat:error=EMFILE:when=600+7]",
    ),
    row(
        12,
        "files may grow no more (RLIMIT_FSIZE)",
        "as no space left",
        f"{DISK}::test_the_disk_s_refusal_of_one_byte_more_is_as_a_full_disk",
    ),
    row(
        13,
        "a read-only disk at the start",
        "an error that names the path; the proxy proxies",
        f"{FILES}::test_a_store_on_a_disk_that_takes_no_writing_is_said_with_its_path",
        "e2e/test_capture_upkeep::test_a_store_out_of_reach",
    ),
    row(
        14,
        "the store turns read-only while it is written",
        "as no space left",
        f"{FILES}::test_a_store_that_turns_read_only_goes_on_by_itself_afterwards",
    ),
    row(
        15,
        "the disk stalls",
        "the loop goes on, memory is bounded, what is dropped is counted",
        f"{FILES}::test_a_frozen_disk_stops_neither_the_loop_nor_memory_s_bound",
        f"{DISK}::test_a_stalled_disk_stops_neither_the_loop_nor_memory_s_bound",
        "store/test_trouble::test_a_disk_that_does_not_answer_is_trouble",
    ),
    row(
        16,
        "the disk is slower than what passes",
        "the queue fills, then bodies are cut and counted",
        f"{REFUSALS}::test_a_slow_disk_fills_the_queue_then_bodies_are_cut_and_counted",
    ),
    row(
        17,
        "a flipped byte in a segment",
        "exactly that record, and what is a delta to it, is unreadable",
        f"{DAMAGE}::test_a_flipped_byte_costs_exactly_its_record",
        "store/test_frames::test_a_flipped_byte_anywhere_costs_exactly_its_frame",
    ),
    row(
        18,
        "a torn, garbage or zero tail",
        "what is before it is read, what is behind it found again",
        f"{DAMAGE}::test_a_damaged_tail_costs_the_records_in_it",
        "store/test_frames::test_every_cut_of_a_file_is_a_prefix_of_its_frames",
        "store/test_parts::test_every_cut_of_a_part_is_a_prefix",
    ),
    row(
        19,
        "a frame claims a huge length; any bytes at all",
        "nothing is allocated for it; reading ends and raises what is told",
        "store/test_frames::test_a_length_beyond_the_file_is_no_frame",
        "store/test_frames::test_a_payload_that_is_not_what_its_header_says_is_refused_without_allocating",
        f"{FUZZ}::test_a_length_that_is_a_lie_is_not_allocated",
        f"{FUZZ}::test_frames_of_a_segment",
        f"{FUZZ}::test_a_segment_file",
        f"{FUZZ}::test_a_part_file",
        f"{FUZZ}::test_what_a_forged_frame_says_is_not_believed",
    ),
    row(
        20,
        "a page of the index is damaged",
        "it is told with what to do; a rebuild has every row",
        f"{DAMAGE}::test_a_damaged_index_is_told_and_made_anew",
        f"{DAMAGE}::test_a_damaged_index_is_not_taken_from_under_a_proxy",
    ),
    row(
        21,
        "the index is deleted, or an older copy is there",
        "made anew, or rolled forward",
        f"{DAMAGE}::test_a_deleted_index_is_made_anew",
        f"{DAMAGE}::test_an_older_index_is_rolled_forward",
    ),
    row(
        22,
        "the index's -wal or -shm is deleted",
        "what was in it is rebuilt from the segments",
        f"{LOGS}::test_without_its_log_the_index_is_made_good_from_the_segments",
        f"{DAMAGE}::test_a_deleted_log_costs_no_record",
    ),
    row(
        23,
        "a segment is deleted",
        "the list works, its records say that their bodies are gone",
        f"{DAMAGE}::test_a_deleted_segment_is_said_by_its_records_alone",
    ),
    row(
        24,
        "the base of deltas is damaged",
        "what stands on it is unreadable, never wrong",
        "store/test_delta_records::test_damage_to_a_base_costs_what_stands_on_it_and_no_more",
        "store/test_delta::test_a_damaged_base_shows_no_wrong_byte",
    ),
    row(
        25,
        "several proxies on one store",
        "all rows; a dead one's are recovered once",
        f"{OTHERS}::test_two_write_one_is_killed_and_a_third_recovers_while_the_other_writes_on",
        "e2e/test_capture_upkeep::test_two_proxies_on_one_store",
    ),
    row(
        26,
        "a proxy starts while the old one lives",
        "what the old one is writing is left to it",
        "store/test_recovery::test_a_living_writer_s_parts_are_its_own",
        "store/test_local::test_opening_a_store_again_and_again_disturbs_no_writer",
    ),
    row(
        27,
        "a file system without locks",
        "refused with the reason",
        f"{FILES}::test_where_there_are_no_locks_a_store_is_refused",
    ),
    row(
        28,
        "a reader in mid-read while a purge runs",
        "the purge works, and the secrets go when the reader is done",
        "store/test_local::test_a_reader_in_mid_read_keeps_the_log_only_until_the_next_sweep",
        "store/test_following::test_a_follower_that_hangs_in_mid_read_stops_nobody",
    ),
    row(
        29,
        "a view is stopped (SIGSTOP)",
        "it holds no transaction, so the log does not grow",
        f"{LOGS}::test_a_view_that_was_stopped_does_not_make_the_log_grow",
    ),
    row(
        30,
        "another holds the index for long",
        "rows wait and are tried again; parts go on",
        f"{DISK}::test_an_index_that_is_locked_for_long_loses_nothing",
        "store/test_seen::test_a_locked_index_costs_no_count_and_no_record",
    ),
    row(
        31,
        "several start at once on a fresh store",
        "one makes it, the others wait",
        f"{OTHERS}::test_three_start_at_once_on_a_fresh_store",
    ),
    row(
        32,
        "tables of a newer version",
        "refused, and left as they are",
        "store/test_schema::test_a_newer_version_s_tables_are_refused",
    ),
    row(
        33,
        "the clock goes back an hour, or ahead a year",
        "ids grow; one jump ahead purges nothing",
        "store/test_ids::test_ids_grow",
        "store/test_sweep::test_a_clock_that_jumps_ahead_is_believed_the_second_time",
    ),
    row(
        34,
        "many processes in one millisecond",
        "ids are all different",
        f"{REFUSALS}::test_ids_of_one_millisecond_in_many_processes_are_all_different",
        "store/test_ids::test_threads_share_a_source",
    ),
    row(
        35,
        "a key is switched off, or keeps less, while a stream of it runs",
        "the purge is done when the command returns; the rest of the stream is discarded",
        "store/test_writer::test_a_record_whose_key_goes_off_in_flight_is_nowhere",
        "store/test_writer::test_a_record_told_of_after_its_key_went_off_leaves_no_byte",
        "store/test_local::test_lowering_deletes_what_is_expired_before_it_returns",
        "store/test_local::test_off_and_on_while_writers_write_leaves_only_what_came_after",
        f"{OTHERS}::test_off_in_one_process_while_others_write_leaves_no_byte",
    ),
    row(
        36,
        "a purge is killed half way",
        "the next start or sweep finishes it",
        "store/test_sweep::test_a_purge_killed_anywhere_is_finished_and_never_undone",
    ),
    row(
        37,
        "the queue is full",
        "bodies are cut to a prefix, and it is counted",
        "store/test_writer::test_a_full_queue_cuts_bodies_and_counts_what_it_cut",
        "store/test_handover::test_what_does_not_fit_is_counted_and_never_leaves_a_hole",
    ),
    row(
        38,
        "ten thousand streams at once",
        "each is whole; descriptors are bounded",
        f"{BULK}::test_very_many_streams_at_once",
        "store/test_parts::test_more_parts_than_descriptors",
    ),
    row(
        39,
        "100 MB each way, and none",
        "whole; memory is bounded",
        f"{BULK}::test_very_large_bodies_cost_no_memory_of_their_size",
        "store/test_writer::test_a_large_body_is_cut_into_frames_and_comes_back_whole",
        "store/test_writer::test_bodies_that_are_empty_and_responses_that_never_came",
        "e2e/test_capture_http1::test_large_bodies",
        "e2e/test_capture_http1::test_an_empty_answer",
    ),
    row(
        40,
        "a byte now and then for hours; a silent stream",
        "its row is there, it costs no memory, segments are sealed meanwhile",
        f"{REFUSALS}::test_one_byte_now_and_then_for_hours_is_seen_and_costs_no_memory",
    ),
    row(
        41,
        "the client or the upstream leaves in the middle",
        "what passed is kept, with what happened",
        "e2e/test_state_table::test_end",
    ),
    row(
        42,
        "headers that are huge, repeated, no UTF-8, with NUL and breaks",
        "they come back as the bytes they were",
        f"{BULK}::test_headers_come_back_as_the_bytes_they_were",
        "store/test_codec::test_heads_come_back_byte_for_byte",
        "store/test_writer::test_hostile_heads_do_not_stop_the_writer",
    ),
    row(
        43,
        "what drives a terminal, in any captured field",
        "it is shown escaped",
        "tui/test_safe_text::test_every_code_point_a_terminal_acts_on_is_unsafe",
        "tui/test_safe_text::test_escaped_text_holds_nothing_a_terminal_acts_on",
        "tui/test_pty::test_no_attack_reaches_the_terminal",
        "tui/cli/test_records::test_nothing_captured_drives_a_terminal",
        "tui/cli/test_search::test_nothing_captured_reaches_the_terminal",
    ),
    row(
        44,
        "bombs of every content encoding, also stacked",
        "decoding stops at its limit; the proxy decodes no body",
        "collectors/test_encoding::test_a_bomb_stops_at_the_limit",
        "collectors/test_framing::test_a_decoded_stream_is_bounded",
        "store/test_summary::test_a_stream_longer_than_what_is_decoded",
    ),
    row(
        45,
        "a line without an end, events without number",
        "the parser is linear and bounded",
        "collectors/test_sse::test_a_long_line_is_not_read_again_for_every_piece",
        "collectors/test_hostile::test_folding_is_linear",
        "collectors/test_facts::test_long_answers_cost_no_more_than_short_ones",
        "tui/document/test_wrap::test_a_giant_line_is_cut_without_being_walked",
    ),
    row(
        46,
        "ids and names of keys that look like paths",
        "a folder is named by what we made, an id that is none is refused",
        "store/test_keys::test_a_key_s_name_never_names_a_file",
        "store/test_reader::test_what_is_no_id_is_refused",
        "store/test_ids::test_what_is_no_id_has_no_bytes",
    ),
    row(
        47,
        "a link planted in the store",
        "it is not followed",
        "store/test_layout::test_a_planted_link_is_refused",
        "store/test_layout::test_files_are_neither_made_twice_nor_opened_through_links",
        f"{DAMAGE}::test_a_link_planted_for_a_segment_is_not_followed",
        f"{DAMAGE}::test_what_is_planted_or_left_among_the_parts_stops_no_start",
    ),
    row(
        48,
        "any umask, a store that others could read",
        "0700 and 0600; another user's store is refused",
        "store/test_layout::test_every_file_is_the_user_s_alone",
        "store/test_layout::test_a_store_that_others_could_read_is_closed_to_them",
        "store/test_layout::test_another_user_s_store_is_refused",
    ),
    row(
        49,
        "SQL and search syntax where a text is looked for",
        "it is looked for as it is written",
        "faults/test_hostile_words::test_whatever_is_looked_for_is_found_as_it_is_written",
    ),
    row(
        50,
        "a database or an object store is down",
        "the local spool grows, and it goes on alone",
        f"{REFUSALS}::test_a_database_or_object_store_that_is_down",
    ),
    row(
        51,
        "JSON that is deep, large or doubled; lone surrogates",
        "it is kept as it is, and its row can be read",
        f"{BULK}::test_whatever_a_body_says_it_is_kept_and_its_row_can_be_read",
        "collectors/test_json::test_parse",
        "collectors/test_hostile::test_random_bodies_never_raise",
        "store/test_codec::test_a_row_holds_only_what_a_column_can",
    ),
)


def node(test: str) -> str:
    """A test of a row as pytest names it."""
    module, _, name = test.partition("::")
    return f"tests/{module}.py::{name}"


# -- the page -------------------------------------------------------------------------------------

HELD = "held"

INTRODUCTION = """\
# The faults

What may happen to a store and to what passes, what must come of it, and the tests that make it happen.
Made by `make faults`, which plays them all at length: more kills, more streams, larger bodies than
`make test`, which plays them shortly (and leaves out `at_length`). A row is "held" where its tests passed;
what could not be played on the machine that made this page says why. Tests are named below `tests/`, without `test_`.

| # | fault | what must happen | tests | |
|---|---|---|---|---|
"""

_LINE = re.compile(r"\| (\d+) \|.*\| ([^|]*) \|")
_FIGURES = "\n## Measured\n\n"


def line(each: Row, outcome: str) -> str:
    """A row's line."""
    tests: dict[str, list[str]] = {}
    for test in each.tests:
        module, _, name = test.partition("::")
        tests.setdefault(module.replace("test_", ""), []).append(name.removeprefix("test_"))
    said = "; ".join(f"{module}: {', '.join(names)}" for module, names in tests.items())
    cells = [str(each.number), each.fault, each.must, said, outcome]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |\n"


def page(outcomes: dict[int, str], figures: list[str]) -> str:
    """docs/faults.md, from how each row came out and what was measured."""
    rows = "".join(line(each, outcomes[each.number]) for each in ROWS)
    return INTRODUCTION + rows + _FIGURES + "".join(f"- {figure}\n" for figure in figures)


def outcomes_of(text: str) -> dict[int, str]:
    """What a page says of its rows."""
    return {int(found[1]): found[2] for found in _LINE.finditer(text)}


def figures_of(text: str) -> list[str]:
    """What a page says was measured."""
    return [each.removeprefix("- ") for each in text.partition(_FIGURES)[2].splitlines()]
