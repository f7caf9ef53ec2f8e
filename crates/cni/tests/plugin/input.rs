//! Input of every bad kind.

use crate::rig::{Rig, configuration, error_of};
use proptest::prelude::*;

#[test]
fn bad_configurations_are_named() {
    let rig = Rig::with_agent();
    for (text, code_expected, parts) in [
        ("", 6, vec!["it is empty"]),
        ("{", 6, vec!["line 1 column 1"]),
        ("[]", 6, vec!["expected a map"]),
        ("{\"name\":\"n\",\n \"ipam\": {\"type\": 5}}", 6, vec!["ipam.type", "line 2"]),
        ("{\"name\":\"n\",\"mtu\":-4}", 6, vec!["mtu"]),
        ("{\"name\":\"n\",\"ipam\":{\"assign_ipv4\":\"maybe\"}}", 6, vec!["assign_ipv4", "maybe"]),
        ("{\"name\":\"n\",\"ipam\":{\"ipv4_pools\":\"p\"}}", 6, vec!["ipam.ipv4_pools"]),
        ("{\"name\":\"n\",\"args\":{\"cni\":{\"labels\":7}}}", 6, vec!["args.cni.labels"]),
        (
            r#"{"name":"n","args":{"cni":{"ports":[{"name":"a","port":65536}]}}}"#,
            6,
            vec!["args.cni.ports[0].port", "65536"],
        ),
        ("{\"cniVersion\":\"1.1.0\",\"name\":\"n\"}", 1, vec!["1.1.0", "0.3.1", "1.0.0"]),
        ("{\"cniVersion\":\"1.0.0\"}", 7, vec!["\"name\""]),
        ("{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\"}", 7, vec!["a/b"]),
        ("{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}", 7, vec!["ipam.type"]),
        (
            "{\"name\":\"n\",\"mtu\":70000,\"ipam\":{\"type\":\"calico-ipam\"}}",
            7,
            vec!["mtu", "70000"],
        ),
    ] {
        let mut input = rig.input("ADD", &configuration("1.0.0"));
        input.stdin = text.into();
        let (code, message) = error_of(&rig.run(&input));
        assert_eq!(code, code_expected, "{text}: {message}");
        for part in parts {
            assert!(message.contains(part), "{text}: {message} lacks {part}");
        }
    }
    rig.assert_clean();
    assert!(rig.asked().is_empty());
}

#[test]
fn bad_environments_are_named() {
    let rig = Rig::with_agent();
    for (name, value, part) in [
        ("CNI_COMMAND", "", "CNI_COMMAND"),
        ("CNI_COMMAND", "GC", "GC"),
        ("CNI_CONTAINERID", "", "CNI_CONTAINERID"),
        ("CNI_CONTAINERID", "../../etc", "../../etc"),
        ("CNI_NETNS", "", "CNI_NETNS"),
        ("CNI_IFNAME", "", "CNI_IFNAME"),
        ("CNI_IFNAME", "an-overlong-name", "15"),
        ("CNI_IFNAME", "a/b", "a/b"),
        ("CNI_IFNAME", "..", ".."),
        ("CNI_ARGS", "K8S_POD_NAME", "KEY=VALUE"),
        ("CNI_ARGS", "IP=10.0.0", "IP=10.0.0"),
    ] {
        let mut input = rig.input("ADD", &configuration("1.0.0"));
        input.environment.insert(name.into(), value.into());
        let (code, message) = error_of(&rig.run(&input));
        assert!(code == 4 && message.contains(part), "{name}={value}: {code} {message}");
    }
    rig.assert_clean();
}

#[test]
fn keys_of_others_are_passed_over() {
    let rig = Rig::with_agent();
    let mut wanted = configuration("1.0.0");
    wanted["log_level"] = "debug".into();
    wanted["flavour"] = "unheard of".into();
    wanted["policy"] = serde_json::json!({ "type": "k8s" });
    rig.good("ADD", &wanted);
    let log = rig.log();
    assert!(log.contains("\"flavour\"") && !log.contains("\"policy\""), "{log}");
}

#[test]
fn a_log_that_cannot_be_written_does_not_matter() {
    let rig = Rig::with_agent();
    let mut wanted = configuration("1.0.0");
    wanted["log_file_path"] = "/proc/no/such/directory/cni.log".into();
    rig.good("ADD", &wanted);
}

static RIG: std::sync::LazyLock<Rig> = std::sync::LazyLock::new(Rig::new);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // Nothing in it can reach a namespace: CNI_NETNS is never one.
    #[test]
    fn arbitrary_input_never_panics(
        command in "ADD|DEL|CHECK|VERSION|\\PC{0,5}",
        id in "[a-z0-9./]{0,20}",
        netns in "(/nowhere)?[a-z]{0,4}",
        arguments in "(K8S_POD_NAME=\\PC{0,5};|IP=[0-9.:/]{0,9};|\\PC{0,6})*",
        stdin in prop_oneof![
            "\\PC{0,60}",
            "\\{(\"(name|ipam|mtu|cniVersion|prevResult|args)\":(1|null|\"[a-z0-9.]{0,5}\"|\\{\\}|\\[\\]),?)*\\}",
        ],
    ) {
        let rig = &*RIG;
        let mut input = rig.input(&command, &configuration("1.0.0"));
        for (name, value) in
            [("CNI_CONTAINERID", id), ("CNI_NETNS", netns), ("CNI_ARGS", arguments)]
        {
            input.environment.insert(name.into(), value);
        }
        input.stdin = stdin.into_bytes();
        let outcome = rig.run(&input);
        if !outcome.success {
            error_of(&outcome);
        }
        // DEL with so many kinds of bad input is what the second plugin sees too; its ADD and DEL
        // ask a datastore, which isn't there.
        input.environment.insert("ETCD_ENDPOINTS".into(), "nonsense".into());
        let outcome = cni::calico_ipam(&input, &rig.places);
        if !outcome.success {
            error_of(&outcome);
        }
    }
}
