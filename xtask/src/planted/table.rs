//! Which tests find which bug.

/// A test that finds bugs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    /// What kind of test it is.
    pub(super) layer: &'static str,
    /// The package it is in.
    pub(super) package: &'static str,
    /// The target it is in; the library's own tests where `None`.
    pub(super) target: Option<&'static str>,
    /// Its name in there.
    pub(super) name: &'static str,
}

const fn unit(name: &'static str) -> Test {
    Test { layer: "unit", package: "ringpack", target: None, name }
}

const fn test(layer: &'static str, target: &'static str, name: &'static str) -> Test {
    Test { layer, package: "ringpack-tests", target: Some(target), name }
}

const fn lab(target: &'static str, name: &'static str) -> Test {
    Test { layer: "power cuts", package: "ringpack-lab", target: Some(target), name }
}

const JOURNAL_ORDER: Test =
    unit("commit::checkpoint::tests::j1_the_data_is_synced_before_the_journal_is_written");
const JOURNAL_SURVIVES: Test =
    unit("journal::tests::j2_a_reported_checkpoint_survives_every_power_cut");
const JOURNAL_REPLACED: Test =
    unit("journal::tests::j2_a_journal_that_takes_anothers_place_is_whole_at_every_moment");
const STALE: Test = unit(
    "commit::publication::tests::\
     b5_a_journal_of_another_run_is_gone_durably_before_anything_is_written",
);
const ONE_WRITER: Test =
    unit("commit::publication::tests::b3_one_writer_at_a_time_and_a_dead_ones_file_is_stale");
const ORDER: Test = test("call order", "finalize_order", "on_the_simulated_disk");
const SURVIVES: Test =
    test("simulator", "simulation", "p2_after_success_a_power_cut_leaves_the_new_file");
const SYNC_FAILS: Test = test("simulator", "simulation", "each_sync_that_fails_is_final");
const ANY_ORDER: Test =
    test("simulator", "simulation", "any_order_and_any_interruption_gives_the_same_bytes");

const FAULTS: Test = test("simulator", "crash", "p5_m1_an_error_of_each_call_and_then_a_crash");
const EACH_STEP: Test = test("simulator", "crash", "p3_p4_j5_a_crash_at_each_step_part_1");
const STRAGGLERS: Test = test("simulator", "crash", "p3_p4_j5_a_crash_at_each_step_part_2");
const OF_GOING_ON: Test = test("simulator", "crash", "p3_p4_a_crash_at_each_step_of_going_on");

const LEFT_OUT: Test =
    test("salvaging", "salvage", "a_container_behind_another_is_said_to_be_left_out");

/// Each bug, and the tests that must find it.
pub(super) const CAUGHT: &[(&str, &[Test])] = &[
    ("NoSync", &[ORDER, SURVIVES, lab("power_cut", "packing_on_btrfs_survives_every_cut")]),
    ("SyncedEarly", &[ORDER, SURVIVES]),
    ("NoDirectorySync", &[SURVIVES, lab("power_cut", "packing_on_btrfs_survives_every_cut")]),
    ("ChainTrusted", &[SYNC_FAILS]),
    ("SyncRetried", &[SYNC_FAILS, FAULTS]),
    ("JournalBeforeData", &[JOURNAL_ORDER, EACH_STEP]),
    ("InFlightNamed", &[EACH_STEP]),
    ("NoJournalSync", &[JOURNAL_SURVIVES, EACH_STEP]),
    ("NoNamesSync", &[JOURNAL_SURVIVES, EACH_STEP]),
    ("JournalInPlace", &[JOURNAL_REPLACED, OF_GOING_ON]),
    ("JournalUnlinkedEarly", &[EACH_STEP]),
    ("TornTailTrusted", &[unit("journal::tests::j4_every_flipped_bit_ends_the_journal_before_it")]),
    ("UncoveredAdopted", &[EACH_STEP]),
    (
        "StaleJournalTrusted",
        &[STALE, test("simulator", "kept", "j6_a_journal_of_another_run_is_not_believed")],
    ),
    (
        "NotReadBack",
        &[test("simulator", "kept", "j7_a_frame_that_changed_is_written_anew_with_all_behind_it")],
    ),
    (
        "SourceUnchecked",
        &[test("simulator", "kept", "j6_other_options_and_another_source_are_refused_by_name")],
    ),
    (
        "HoleUncleared",
        &[
            unit("pack::holes::tests::ho1_every_layout_and_every_chunk_is_as_the_model_has_it"),
            test("files", "sparse", "any_layout_comes_back_as_the_source_has_it"),
            test("images", "sparse", "an_ext4_image"),
            test("comparison", "compare", "pc1_a_sparse_file_is_published_only_as_it_is"),
        ],
    ),
    (
        "ChangeTimeIgnored",
        &[
            test(
                "processes",
                "changing",
                "a_rewrite_whose_mtime_is_put_back_is_noticed_whatever_is_packed",
            ),
            test("processes", "changing", "a_source_that_changed_in_hiding_is_not_removed"),
        ],
    ),
    (
        "DirtyPagesLeft",
        &[test(
            "file systems",
            "changing",
            "a_store_through_a_mapping_is_noticed_whatever_is_packed",
        )],
    ),
    ("TickIgnored", &[unit("ring::writeback::tests::it_is_settled_once_a_tick_is_over")]),
    (
        "SourceUncompared",
        &[
            test("comparison", "compare", "pc1_what_was_read_wrongly_is_not_published"),
            test("comparison", "compare", "ag1_a_hole_is_compared_as_what_it_reads_as"),
        ],
    ),
    ("LeftOutUncounted", &[LEFT_OUT]),
    (
        "ShortExtentCovered",
        &[unit("commit::checkpoint::tests::m2_an_extent_that_ends_off_the_grid_is_not_covered")],
    ),
    ("CutOffTrusted", &[test("wrong input", "wrong_input", "a_container_cut_off_between_extents")]),
    (
        "OrderUnchecked",
        &[test(
            "wrong input",
            "wrong_input",
            "chunks_that_changed_places_are_noticed_in_order_too",
        )],
    ),
    ("BatchOfOne", &[test("costs", "costs", "an_extent_costs_two_operations_in_few_calls")]),
    (
        "CopiedFirst",
        &[
            test("costs", "costs", "an_extent_costs_a_few_small_allocations"),
            test("costs", "costs", "a_byte_is_copied_once_at_most"),
        ],
    ),
    (
        "RefusalIgnored",
        &[
            test("simulator", "crash", "cf2_a_refused_job_publishes_nothing_at_any_step"),
            test("processes", "producers", "what_ends_badly_is_not_published"),
        ],
    ),
    ("SequenceUnchecked", &[test("simulator", "kept", "a_stopped_run_goes_on_to_the_same_bytes")]),
    ("ShortWriteIgnored", &[ANY_ORDER]),
    ("BufferReusedEarly", &[test("real ring", "round_trip", "store_dense")]),
    ("LockElsewhere", &[ONE_WRITER, STRAGGLERS]),
    (
        "WorldReadable",
        &[
            unit("commit::publication::tests::b1_b2_b4_nothing_under_the_name_until_published"),
            lab("power_cut", "packing_on_ext4_survives_every_cut"),
        ],
    ),
    (
        "ReplacedUnasked",
        &[unit("commit::publication::tests::b1_an_existing_target_is_replaced_only_when_asked")],
    ),
    (
        "FuseByRing",
        &[
            test(
                "FUSE",
                "fuse",
                "u4_a_read_that_fails_is_an_error_and_one_that_ends_early_is_made_up_for",
            ),
            test("FUSE", "fuse", "u4_what_cannot_be_read_back_is_not_adopted"),
            test("FUSE", "fuse", "u4_a_tokio_uring_program_is_told_of_failed_reads_and_writes_too"),
        ],
    ),
    (
        "CompleteDiscarded",
        &[
            unit("commit::publication::tests::b1_an_existing_target_is_replaced_only_when_asked"),
            test("FUSE", "fuse", "b2_a_finished_file_is_kept_where_it_cannot_be_renamed"),
        ],
    ),
    (
        "NoReserve",
        &[
            unit("commit::ahead::tests::g3_each_step_leaves_most_of_the_free_space_to_others"),
            unit("commit::ahead::tests::g3_a_step_that_fails_gives_back_what_it_took"),
            unit(
                "commit::checkpoint::tests::h3_without_room_for_the_journal_a_checkpoint_is_skipped",
            ),
            test("processes", "filesystems", "what_fits_is_packed_on_ext4"),
        ],
    ),
    (
        "CancelledIsFailed",
        &[
            unit(
                "ring::inflight::tests::\
                 i2_what_the_kernel_cancels_is_done_directly_and_if_that_fails_it_failed",
            ),
            test("processes", "filesystems", "the_kernel_may_start_no_threads"),
        ],
    ),
    (
        "PanicPassedOn",
        &[
            unit("pipeline::tests::y1_y3_a_worker_that_panics_is_an_error_of_the_job"),
            test(
                "simulator",
                "kept",
                "p1_a_worker_that_panics_is_an_error_and_the_last_checkpoint_stays",
            ),
        ],
    ),
    (
        "CheckpointDiscarded",
        &[test(
            "simulator",
            "container_writer",
            "reopening_or_creating_begins_anew_only_where_nothing_is_lost",
        )],
    ),
    ("LockedStrayRemoved", &[test("processes", "restoring", "what_a_killed_run_left_is_removed")]),
    (
        "OutputsMayClash",
        &[test(
            "processes",
            "outputs",
            "oc1_two_inputs_with_one_output_are_refused_before_anything_is_done",
        )],
    ),
    (
        "ClosedStreamsTrusted",
        &[test("processes", "streams", "cs1_closed_streams_are_neither_read_nor_written")],
    ),
    ("PlaceUnchecked", &[unit("checksum::tests::k1_the_seed_stands_in_front")]),
];
