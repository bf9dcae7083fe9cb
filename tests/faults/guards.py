"""The guards against faults: what stands in the sources, and which test fails once it is taken out.

`tests/faults/test_guards.py` takes each of them out of a copy of the sources and runs that test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """Something in the sources without which a test of a fault must fail.

    Attributes:
        fault: its name in docs/reliability.md.
        what: what the guard does, in a few words.
        module: where it stands, below src/whet.
        text: it as it stands there, once.
        left: what is left when it is taken out.
        test: the test that must fail then, as pytest calls it; a quick one.
    """

    fault: str
    what: str
    module: str
    text: str
    left: str
    test: str


# Faults whose tests have no guard to take out, and why.
NO_GUARD: dict[str, str] = {
    "F25": "there is no HTTP server yet",
    "F29": "this is it",
}

_FAULTS = "tests/faults/"

GUARDS: tuple[Guard, ...] = (
    # ---- F1
    Guard(
        "F1",
        "who asks looks at whose lease has run out",
        "core/leases.py",
        "        return self._store.lease(self._study) - {this_process()}",
        "        return frozenset()",
        _FAULTS + "test_f01_starved_asker.py::test_what_began_while_the_asker_was_held_up_is_taken_over",
    ),
    # ---- F2
    Guard(
        "F2",
        "what is beside a trial ends it when whoever runs the study dies",
        "executors/runner.py",
        '            self._attempt.end("terminate")',
        "            pass",
        _FAULTS + "test_descendants.py::test_the_death_of_the_coordinator_ends_everything[a plain fork-]",
    ),
    # ---- F3, F4
    Guard(
        "F3",
        "SIGTERM is collected, and heeded by the loop",
        "interrupts.py",
        '    signal.SIGTERM: ("terminated", "terminate"),\n',
        "",
        _FAULTS + "test_interrupted_functions.py"
        "::test_a_program_that_is_told_to_end_dies_of_the_signal_with_everything_in_order[15]",
    ),
    Guard(
        "F3",
        "a run that a signal has ended gives its trials back, to wait",
        "run.py",
        "                live.intent, live.reason = Kind.REQUEUED, live.reason or reason",
        "                live.reason = live.reason or reason",
        _FAULTS + "test_interrupts.py::test_a_signal_ends_the_run_which_can_be_resumed",
    ),
    Guard(
        "F4",
        "the first Ctrl-C leaves trials their grace",
        "interrupts.py",
        'signal.SIGINT: ("interrupted", "interrupt")',
        'signal.SIGINT: ("interrupted", "kill")',
        _FAULTS + "test_interrupts.py::test_a_signal_ends_the_run_which_can_be_resumed[2-130-SIGINT]",
    ),
    Guard(
        "F4",
        "the second Ctrl-C ends trials at once",
        "run.py",
        '                self._stops += [(token, "kill") for token in self._live]',
        "                pass",
        "tests/test_run_engine.py::test_interrupted_twice",
    ),
    # ---- F5
    Guard(
        "F5",
        "a durable write is on the disk before it is acknowledged",
        "storage/sqlite.py",
        "synchronous={'FULL' if durable else 'NORMAL'}",
        "synchronous=NORMAL",
        _FAULTS + "test_power_cut.py::test_what_was_acknowledged_survives_a_power_cut[3]",
    ),
    Guard(
        "F5",
        "a torn line of an attempt before is not read",
        "executors/readings.py",
        "            self._offset = os.stat(path).st_size  # what is there is an earlier attempt's",
        "            self._offset = 0",
        _FAULTS + "test_power_cut.py::test_a_file_of_metrics_that_an_attempt_left_torn_is_appended_to",
    ),
    # ---- F6, F7
    Guard(
        "F6",
        "a run waits for room",
        "run.py",
        "            except PASSING as error:",
        "            except PASSING[:2] as error:",
        _FAULTS + "test_lost_places.py::test_a_full_disk_is_waited_for_without_work_and_then_it_goes_on",
    ),
    Guard(
        "F6",
        "a full disk is told from a damaged file",
        "storage/sqlite.py",
        "    if primary == sqlite3.SQLITE_FULL:",
        "    if False:",
        _FAULTS + "test_disk_full.py::test_a_store_goes_on_once_there_is_room",
    ),
    Guard(
        "F6",
        "a full disk costs the log, not the trial",
        "executors/logs.py",
        "                self._trouble = error.strerror or str(error)\n                break",
        "                raise",
        "tests/executors/test_logs.py::test_a_full_disk_is_noted_and_nothing_more",
    ),
    Guard(
        "F7",
        "a store that was deleted is not written to",
        "storage/sqlite.py",
        "                if inode(self.path) != self._inode:",
        "                if False:",
        _FAULTS + "test_lost_places.py::test_a_store_that_goes_away_under_a_run_ends_it[the files]",
    ),
    # ---- F8, F9
    Guard(
        "F8",
        "a hold that nobody could renew while the server was down has not run out",
        "storage/holdings.py",
        "greatest(ends_at, {STARTED} + %(hold_s)s) > {NOW}",
        "ends_at > {NOW}",
        "tests/storage/test_postgres.py::test_what_nobody_could_renew_while_the_server_was_down_has_not_run_out",
    ),
    Guard(
        "F8",
        "a lease that nobody could renew while the server was down has not run out",
        "storage/statements.py",
        "and_(held.ends_at <= now, started + held.for_s <= now)",
        "held.ends_at <= now",
        "tests/storage/test_postgres.py::test_what_nobody_could_renew_while_the_server_was_down_has_not_run_out",
    ),
    Guard(
        "F9",
        "what was written is not written again",
        "storage/postgres.py",
        "                if computed and self._is_committed(receipt):\n                    return computed[-1]\n",
        "",
        "tests/storage/test_postgres.py::test_commits_whose_replies_are_lost_happen_once",
    ),
    Guard(
        "F9",
        "a receipt is written with each write",
        "storage/postgres.py",
        "                wire.execute(_RECEIPT, receipt)\n",
        "",
        "tests/storage/test_postgres.py::test_commits_whose_replies_are_lost_happen_once",
    ),
    Guard(
        "F8",
        "what is read is on the disk, though its commit was cut off",
        "storage/postgres.py",
        "                self._insisting(self._wait_for_disk)\n",
        "                pass\n",
        "tests/storage/test_postgres.py::test_what_is_read_is_on_the_disk",
    ),
    # ---- F10, F11, F12
    Guard(
        "F10",
        "leases are counted by a clock that nobody sets",
        "storage/sqlite.py",
        '        return {"now": time.monotonic(), "boot": boot_id()}',
        '        return {"now": time.time(), "boot": boot_id()}',
        _FAULTS + "test_leases.py::test_f10_no_lease_runs_out_by_a_jump_of_the_clock[-3600]",
    ),
    Guard(
        "F11",
        "a study has one process that runs it",
        "storage/sqlite.py",
        "            yield fd is not None",
        "            yield True",
        "tests/test_study_more.py::test_a_program_that_whet_run_holds_is_not_disturbed",
    ),
    Guard(
        "F12",
        "what a worker says late is refused",
        "storage/batch.py",
        "if draft.token is not None and (trial is None or trial.token != draft.token):",
        "if draft.token is not None and trial is None:",
        _FAULTS + "test_leases.py::test_f12_what_a_suspended_worker_says_late_is_refused_and_it_goes_on",
    ),
    Guard(
        "F10",
        "leases end when the host is started anew, and its clock with it",
        "storage/statements.py",
        'or_(held.boot != bindparam("boot"), has_ended)',
        "has_ended",
        "tests/storage/test_sql.py::test_leases_end_when_the_host_is_started_anew",
    ),
    Guard(
        "F11",
        "who was thought lost does not write as the holder any more",
        "storage/postgres.py",
        "            if study in self._lost:\n                raise StudyBusy(self._lost[study])\n",
        "",
        "tests/storage/test_postgres.py::test_who_was_thought_lost_cannot_write_as_the_holder_any_more",
    ),
    Guard(
        "F11",
        "a process elsewhere is not held dead as none here has its number",
        "core/owner.py",
        'return f"{socket.gethostname()}/{_mark_of_pids()}"',
        "return socket.gethostname()",
        "tests/core/test_owner.py::test_of_another_host_and_of_what_is_no_name_nothing_is_certain",
    ),
    Guard(
        "F11",
        "a killed holder on this host holds nothing",
        "storage/holdings.py",
        "if not is_held or is_gone(jsontext.loads(owner)):",
        "if not is_held:",
        "tests/storage/test_postgres.py::test_a_killed_holder_on_this_host_holds_nothing",
    ),
    # ---- F13
    Guard(
        "F13",
        "infinity is no result",
        "core/values.py",
        "        if math.isfinite(value):\n            continue",
        "        if not math.isnan(value):\n            continue",
        _FAULTS + "test_bad_values.py::test_whatever_a_function_returns_the_run_goes_on[inline]",
    ),
    Guard(
        "F13",
        "a text is no number, though Python reads it",
        "core/values.py",
        "        if not isinstance(one, str | bytes | bytearray):  # which Python's float would read",
        "        if True:",
        _FAULTS + "test_bad_values.py::test_whatever_is_told_the_trial_can_still_be_told_well",
    ),
    Guard(
        "F13",
        "of a complex number nothing is dropped",
        "core/values.py",
        'value.item() if hasattr(value, "item") else value',
        "value",
        _FAULTS + "test_bad_values.py::test_whatever_is_told_the_trial_can_still_be_told_well",
    ),
    Guard(
        "F13",
        "a value that breaks as it is converted fails its trial only",
        "executors/calling.py",
        "    except Exception as error:  # the value's own code runs here",
        "    except ZeroDivisionError as error:",
        _FAULTS + "test_bad_values.py::test_whatever_a_function_returns_the_run_goes_on[inline]",
    ),
    Guard(
        "F13",
        "what is not finite can count as the worst, whatever its sign",
        "core/values.py",
        "        values[objective.name] = objective.sign * math.inf",
        "        values[objective.name] = value",
        _FAULTS + "test_bad_values.py::test_infinities_can_count_as_the_worst",
    ),
    # ---- F14
    Guard(
        "F14",
        "whatever a function raises ends its trial only",
        "executors/calling.py",
        '    except BaseException as error:\n        return CallEnd("error"',
        '    except Exception as error:\n        return CallEnd("error"',
        _FAULTS + "test_crashing_trials.py::test_a_function_that_crashes_costs_its_trial_only",
    ),
    Guard(
        "F14",
        "a trial that ends without a word has failed, even with exit code 0",
        "executors/trials.py",
        '        return super()._own_cause(exit_code) or "exit_code"',
        "        return super()._own_cause(exit_code)",
        _FAULTS + "test_crashing_trials.py::test_a_function_that_crashes_costs_its_trial_only",
    ),
    Guard(
        "F14",
        "what a trial leaves behind does not hide how it died",
        "executors/attempt.py",
        "                self._level_at_end = self._level\n",
        "                self._level_at_end = signal.SIGKILL\n",
        _FAULTS + "test_crashing_trials.py::test_a_function_that_crashes_costs_its_trial_only",
    ),
    # ---- F15
    Guard(
        "F15",
        "a trial beyond its memory is ended",
        "executors/attempt.py",
        "        if used <= limit:\n            return\n        # Forked",
        "        if used:\n            return\n        # Forked",
        _FAULTS + "test_crashing_trials.py::test_a_script_beyond_its_memory_is_ended",
    ),
    Guard(
        "F15",
        "the memory of all processes of a trial counts",
        "executors/processtree.py",
        '    for pid in descendants(root):\n        try:\n            with open(f"/proc/{pid}/statm", "rb") as file:',
        "    for pid in descendants(root)[:1]:\n        try:\n"
        '            with open(f"/proc/{pid}/statm", "rb") as file:',
        _FAULTS + "test_crashing_trials.py::test_a_script_beyond_its_memory_is_ended",
    ),
    # ---- F16
    Guard(
        "F16",
        "orphans of a trial fall to the process beside it",
        "executors/processtree.py",
        "prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)",
        "prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)",
        _FAULTS + "test_descendants.py::test_what_a_trial_leaves_behind_is_ended_with_it[a double fork with nohup]",
    ),
    Guard(
        "F16",
        "what the process beside a trial leaves when it is killed is found by its mark",
        "executors/runner.py",
        "        n_quiet = 0 if kill_children(slots.keys()) else n_quiet + 1",
        "        n_quiet += 1",
        _FAULTS + "test_descendants.py::test_the_death_of_a_watcher_ends_everything",
    ),
    # ---- F17
    Guard(
        "F17",
        "a log keeps its head and its tail",
        "executors/logs.py",
        "        into = (position - self._head) % self._ring\n        return self._head + into, self._ring - into",
        "        return position, 1 << 30",
        "tests/executors/test_logs.py::test_a_log_keeps_its_head_and_its_tail",
    ),
    Guard(
        "F17",
        "of an endless line only its beginning is kept",
        "executors/logs.py",
        "            self._state += state[: _LINE_BYTES - len(self._state)]",
        "            self._state += state",
        "tests/executors/test_logs.py::test_of_an_endless_line_64_kib_are_kept",
    ),
    Guard(
        "F17",
        "reports that nobody takes are thinned",
        "executors/readings.py",
        "            if len(self._rows) > _MAX_ROWS:",
        "            if False:",
        "tests/executors/test_runner.py::test_rows_that_nobody_takes_are_thinned_but_no_latest_value_is_lost",
    ),
    # ---- F18, F21, F22, F26
    Guard(
        "F18",
        "nothing unprintable is shown",
        "text.py",
        '    return _UNPRINTABLE.sub("", text).encode("utf-8", "replace").decode()',
        '    return text.encode("utf-8", "replace").decode()',
        "tests/faults/test_f18_output_bytes.py::test_parameters_arrive_as_they_are_and_are_shown_safely",
    ),
    Guard(
        "F18",
        "logs are shown without what a terminal would obey",
        "cli/logview.py",
        '    return printable(strip_ansi(_last_state(line.split("\\r")))).replace("\\n", " ")',
        '    return line.replace("\\n", " ")',
        "tests/faults/test_f18_output_bytes.py::test_logs_hold_every_byte",
    ),
    Guard(
        "F18",
        "what is exported to a terminal is made safe",
        "cli/export.py",
        "_Screen() if sys.stdout.isatty() else sys.stdout.buffer",
        "sys.stdout.buffer",
        "tests/faults/test_f18_output_bytes.py::test_a_terminal_gets_nothing_but_whets_own",
    ),
    Guard(
        "F22",
        "there is no shell",
        "executors/commands.py",
        '        "argv": [from_os(item) for item in command.argv],',
        '        "argv": ["/bin/sh", "-c", from_os(" ".join(command.argv))],',
        "tests/faults/test_f22_awkward_values.py::test_each_arrives",
    ),
    Guard(
        "F26",
        "a study stays in its folder",
        "storage/places.py",
        'encoded_name(name, reserved="" if database is None else database.name)',
        "name",
        "tests/faults/test_f26_awkward_names.py::test_a_study_stays_in_its_folder",
    ),
    Guard(
        "F26",
        "texts are bound, not written into SQL",
        "storage/sql.py",
        'found = session.execute(self._sql.study_named, {"name": name}).fetchall()',
        'found = session.execute(f"SELECT id, name, created_at, settings FROM study '
        "WHERE name = '{name}'\", {}).fetchall()",
        "tests/faults/test_f26_awkward_names.py::test_every_field_comes_back",
    ),
    Guard(
        "F18",
        "what a terminal would obey is taken out of what is shown",
        "executors/logs.py",
        'strip_ansi(line.decode("utf-8", "replace"))',
        'line.decode("utf-8", "replace")',
        "tests/executors/test_logs.py::test_what_a_terminal_would_obey_is_removed",
    ),
    Guard(
        "F21",
        "rules have few levels of brackets",
        "space/parser.py",
        "        if self._depth > _MAX_DEPTH:",
        "        if False:",
        "tests/space/test_conditions.py::test_deep_nesting_is_refused_and_exhausts_nothing",
    ),
    Guard(
        "F22",
        "arguments travel byte by byte",
        "executors/wire.py",
        '    return os.fsencode(value).decode("latin-1")',
        '    return os.fsencode(value).decode("latin-1").strip()',
        "tests/executors/test_commands.py::test_arguments_and_environment_arrive_byte_by_byte",
    ),
    Guard(
        "F26",
        "names are encoded before they are paths",
        "storage/places.py",
        '_KEPT = re.compile(rb"[A-Za-z0-9_.-]")',
        '_KEPT = re.compile(rb"[A-Za-z0-9_./-]")',
        "tests/storage/test_places.py::test_hostile_names_stay_in_the_folder",
    ),
    # ---- F19
    Guard(
        "F19",
        "a grid is walked by index",
        "samplers/finite.py",
        "            return self._order(position)",
        "            return (self._order(position), list(range(min(self.grid.size, 4_000_000))))[0]",
        _FAULTS + "test_large.py::test_a_huge_grid_is_walked_and_not_listed[10^12-grid]",
    ),
    Guard(
        "F19",
        "a grid beyond --max-trials does not start by itself",
        "cli/plan.py",
        "    if n_points > max_trials and not yes:",
        "    if False:",
        "tests/cli/test_plan.py::test_options_that_do_not_go_together",
    ),
    # ---- F20
    Guard(
        "F20",
        "of many trials a page is read",
        "storage/sql.py",
        '        parameters = {"study_id": study, "limit": NO_LIMIT if limit is None else limit}',
        '        parameters = {"study_id": study, "limit": NO_LIMIT}',
        _FAULTS + "test_large.py::test_a_study_of_many_trials_is_shown_in_pages_and_goes_on[20000]",
    ),
    # ---- F23, F24
    Guard(
        "F23",
        "another program's database is left alone",
        "storage/sqlite.py",
        '        if self._pragma("application_id") != schema.APPLICATION_ID:',
        "        if False:",
        "tests/storage/test_damage.py::test_what_is_no_store_is_refused_and_left_as_it_was[application id]",
    ),
    Guard(
        "F23",
        "what is recovered goes into a new file",
        "storage/recovery.py",
        "    if os.path.lexists(to):",
        "    if False:",
        "tests/storage/test_damage.py::test_recover_overwrites_nothing",
    ),
    Guard(
        "F24",
        "a newer format is refused by name",
        "storage/sqlite.py",
        "        if version > schema.SCHEMA_VERSION:",
        "        if False:",
        "tests/storage/test_open.py::test_a_newer_format_is_refused_with_the_versions",
    ),
    Guard(
        "F24",
        "an older file is copied before it is changed",
        "storage/sqlite.py",
        '            self._back_up(beside(self.path, f".format-{version}"))\n',
        "",
        "tests/storage/test_migration.py::test_an_older_file_is_brought_up_to_date_after_a_copy",
    ),
    Guard(
        "F23",
        "an older copy in the file's place is noticed",
        "storage/sql.py",
        "        if after is not None and after > progress.seq:\n",
        "        if after is not None and after < 0:\n",
        "tests/storage/test_open.py::test_an_older_copy_in_its_place_is_noticed",
    ),
    Guard(
        "F24",
        "a newer format is refused by name on a server, too",
        "storage/postgres_tables.py",
        "    if version > schema.SCHEMA_VERSION:\n",
        "    if not version:\n",
        "tests/storage/test_postgres.py::test_a_newer_format_is_refused_with_the_versions",
    ),
    # ---- S: security
    Guard(
        "S",
        "files are their owner's",
        "private.py",
        "FILE_MODE = 0o600",
        "FILE_MODE = 0o666",
        "tests/faults/test_private_files.py::test_what_a_sweep_leaves_is_its_owners",
    ),
    Guard(
        "S",
        "folders are their owner's",
        "private.py",
        "FOLDER_MODE = 0o700",
        "FOLDER_MODE = 0o777",
        "tests/faults/test_private_files.py::test_what_a_tuned_function_leaves_is_its_owners",
    ),
    Guard(
        "S",
        "links are not written through",
        "private.py",
        " | os.O_NOFOLLOW",
        "",
        "tests/faults/test_private_files.py::test_a_link_that_appears_while_a_trial_runs_is_not_written_to",
    ),
    Guard(
        "S",
        "a trial's folder is no link",
        "private.py",
        "    if not may_be_link and os.path.islink(absolute):",
        "    if False:",
        "tests/faults/test_private_files.py::test_a_trial_folder_that_leads_elsewhere_is_refused",
    ),
    Guard(
        "S",
        "of the environment only what was named is stored",
        "cli/surroundings.py",
        "    return {name: environment[name] for name in names}",
        "    return dict(environment)",
        "tests/faults/test_secrets.py::test_nothing_of_the_environment_is_stored_unasked",
    ),
    Guard(
        "S",
        "secret arguments are not shown",
        "cli/standing.py",
        '*redacted(run["arguments"])])',
        '*run["arguments"]])',
        "tests/faults/test_secrets.py::test_a_secret_argument_reaches_the_program_and_nobody_else",
    ),
    Guard(
        "S",
        "a study of another user is not run unasked",
        "cli/resume.py",
        '    if difference := "" if is_asked else run.origin.difference(here):',
        '    if difference := "":',
        "tests/faults/test_strange_commands.py::test_a_study_of_another_user_is_not_run_unasked",
    ),
    Guard(
        "S",
        "what a stranger's store holds is looked at",
        "cli/lookup.py",
        "        what = oddity(found)\n",
        '        what = ""\n',
        "tests/faults/test_strange_stores.py::test_columns_are_data",
    ),
    Guard(
        "S",
        "of a stranger's names only distributions are called",
        "space/distributions.py",
        "if not isinstance(self.name, str) or self.name not in NUMPY_NAMES:",
        "if False:",
        "tests/faults/test_strange_stores.py::test_nothing_is_called_by_its_name_but_distributions",
    ),
    Guard(
        "S",
        "a password is nowhere",
        "storage/postgres.py",
        "        self.url = self.place = without_password(url)\n",
        "        self.url = self.place = url\n",
        "tests/storage/test_postgres.py::test_the_password_is_nowhere",
    ),
    # ---- F28
    Guard(
        "F28",
        "no number is handed out beyond the limit",
        "storage/batch.py",
        "            numbers = [number for number in numbers if number < below]",
        "            pass",
        "tests/storage/test_contract.py::TestSqlStore::test_numbers_beyond_a_limit_are_not_handed_out",
    ),
)
