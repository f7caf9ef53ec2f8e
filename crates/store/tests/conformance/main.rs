//! One suite for every datastore server: whatever passes it can stand behind `store::Datastore`.
//!
//! ```text
//!   cases::* (generic) ──▶ trait Server ──▶ Embedded  (our `datastore`, as a process of its own)
//!                                      ├──▶ Etcd      (Debian's /usr/bin/etcd)
//!                                      └──▶ Kubernetes (a real kube-apiserver, of either layout)
//! ```
//!
//! A new server implements [`server::Server`] and gets a line in [`conformance!`]. What only etcd
//! has (users, TLS, a full database) is in [`access`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod cases;
mod embedded;
mod etcd;
mod kubernetes;
mod process;
mod server;
mod wire;

/// How long a case may take, and a server to start.
const CASE_MAX: std::time::Duration = std::time::Duration::from_secs(120);

/// Runs a test on a runtime of its own.
fn block_on<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

/// Runs a test of one case.
fn run<F: Future>(test: F) -> F::Output {
    block_on(async { tokio::time::timeout(CASE_MAX, test).await.expect("the test is stuck") })
}

macro_rules! conformance {
    ($($server:ty as $module:ident),* : $cases:tt) => {
        $(conformance!(@server $server, $module, $cases);)*
    };
    (@server $server:ty, $module:ident, [$($file:ident::$case:ident),* $(,)?]) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    crate::run(async {
                        let mut server = <$server as crate::server::Server>::start().await;
                        crate::cases::$file::$case(&mut server).await;
                    });
                }
            )*
        }
    };
}

/// All cases one after the other on one server, emptied in between, as it takes long to start.
macro_rules! conformance_on_one {
    ($test:ident on $server:ty: [$($case:path),* $(,)?]) => {
        #[test]
        fn $test() {
            block_on(async {
                let mut server = <$server as server::Server>::start().await;
                $(
                    println!(stringify!($case));
                    let case = Box::pin($case(&mut server));
                    let within = tokio::time::timeout(CASE_MAX, case).await;
                    within.expect(concat!(stringify!($case), " is stuck"));
                    server.empty().await;
                )*
            });
        }
    };
}

conformance! {
    crate::embedded::Embedded as on_embedded,
    crate::etcd::Etcd as on_etcd: [
        writes::create_wants_an_absent_object,
        writes::update_and_delete_want_the_revision_read,
        writes::concurrent_updates_lose_none,
        writes::resources_are_typed,
        lists::a_list_is_of_one_revision,
        lists::many_keys,
        watches::changes_come_in_order_without_gap_or_duplicate,
        watches::the_past_is_replayed,
        watches::a_compacted_past_is_told,
        restarts::a_restart_keeps_everything_and_ends_watches,
        restarts::kill_in_the_middle_of_writes_loses_nothing_acknowledged,
        restarts::a_watcher_follows_through_restart_kill_and_compaction,
        restarts::a_stopped_server_is_unreachable,
    ]
}

conformance_on_one! {
    kubernetes_in_the_first_layout on kubernetes::Kubernetes<false>: [
        cases::writes::create_wants_an_absent_object,
        cases::writes::update_and_delete_want_the_revision_read,
        cases::writes::concurrent_updates_lose_none,
        cases::writes::resources_are_typed,
        cases::lists::a_list_is_of_one_revision,
        cases::lists::many_keys,
        cases::watches::changes_come_in_order_without_gap_or_duplicate,
        cases::watches::the_past_is_replayed,
        cases::watches::a_compacted_past_is_told,
        kubernetes::objects::ipam_is_compared_and_swapped,
        kubernetes::objects::metadata_stand_in_an_annotation,
        kubernetes::objects::kubernetes_own_objects_are_calicos_too,
        kubernetes::beside::own_objects_are_told_without_calicos,
        kubernetes::beside::a_lease_has_one_holder,
        kubernetes::credentials::refusals_say_what_to_do,
        cases::restarts::a_restart_keeps_everything_and_ends_watches,
        cases::restarts::kill_in_the_middle_of_writes_loses_nothing_acknowledged,
        cases::restarts::a_watcher_follows_through_restart_kill_and_compaction,
        cases::restarts::a_stopped_server_is_unreachable,
    ]
}

// What the layout makes a difference to.
conformance_on_one! {
    kubernetes_in_the_native_layout on kubernetes::Kubernetes<true>: [
        cases::writes::create_wants_an_absent_object,
        cases::writes::update_and_delete_want_the_revision_read,
        cases::writes::resources_are_typed,
        cases::lists::a_list_is_of_one_revision,
        cases::watches::changes_come_in_order_without_gap_or_duplicate,
        kubernetes::objects::ipam_is_compared_and_swapped,
        kubernetes::objects::definitions_are_enforced,
    ]
}

// What only etcd can: it keeps any bytes and its history through a restart, and tells that it has been
// replaced.
conformance! {
    crate::embedded::Embedded as on_embedded_as_etcd, crate::etcd::Etcd as on_etcd_alone: [
        writes::values_come_back_byte_for_byte,
        writes::corrupt_objects_are_named,
        lists::foreign_keys_are_left_out,
        watches::those_who_compact_take_turns,
        watches::a_future_is_told,
        restarts::a_watch_resumes_after_a_restart,
    ]
}
