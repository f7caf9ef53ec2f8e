//! What stands on standard output, version by version.

use crate::rig::{Rig, configuration};
use expect_test::{Expect, expect};

#[test]
fn results_of_every_version() {
    let cases: [(&str, Expect); 6] = [
        ("0.1.0", expect![[r#"{"cniVersion":"0.1.0","dns":{},"ip4":{"ip":"192.168.1.5/32"}}"#]]),
        ("0.2.0", expect![[r#"{"cniVersion":"0.2.0","dns":{},"ip4":{"ip":"192.168.1.5/32"}}"#]]),
        (
            "0.3.0",
            expect![[
                r#"{"cniVersion":"0.3.0","dns":{},"interfaces":[{"mac":"ee:ee:ee:ee:ee:ee","name":"calice0906292e2"},{"mac":"MAC","name":"eth0","sandbox":"NETNS"}],"ips":[{"address":"192.168.1.5/32","interface":1,"version":"4"}]}"#
            ]],
        ),
        (
            "0.3.1",
            expect![[
                r#"{"cniVersion":"0.3.1","dns":{},"interfaces":[{"mac":"ee:ee:ee:ee:ee:ee","name":"calice0906292e2"},{"mac":"MAC","name":"eth0","sandbox":"NETNS"}],"ips":[{"address":"192.168.1.5/32","interface":1,"version":"4"}]}"#
            ]],
        ),
        (
            "0.4.0",
            expect![[
                r#"{"cniVersion":"0.4.0","dns":{},"interfaces":[{"mac":"ee:ee:ee:ee:ee:ee","name":"calice0906292e2"},{"mac":"MAC","name":"eth0","sandbox":"NETNS"}],"ips":[{"address":"192.168.1.5/32","interface":1,"version":"4"}]}"#
            ]],
        ),
        (
            "1.0.0",
            expect![[
                r#"{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"ee:ee:ee:ee:ee:ee","name":"calice0906292e2"},{"mac":"MAC","name":"eth0","sandbox":"NETNS"}],"ips":[{"address":"192.168.1.5/32","interface":1}]}"#
            ]],
        ),
    ];
    let rig = Rig::with_agent();
    for (version, expected) in cases {
        let outcome = rig.run(&rig.input("ADD", &configuration(version)));
        assert!(outcome.success, "{version}: {}", outcome.stdout);
        let result: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        let mac = result["interfaces"][1]["mac"].as_str().unwrap_or("no MAC").to_owned();
        let stable = outcome.stdout.replace(&mac, "MAC").replace(&rig.netns(), "NETNS");
        expected.assert_eq(&stable);
    }
}

#[test]
fn version_reports_what_is_spoken() {
    let rig = Rig::new();
    for stdin in ["", "{\"cniVersion\":\"0.4.0\"}", "{\"cniVersion\":\"9.9.9\"}"] {
        let mut input = rig.input("VERSION", &configuration("1.0.0"));
        input.stdin = stdin.into();
        input.environment.retain(|name, _| name == "CNI_COMMAND");
        for outcome in [rig.run(&input), cni::calico_ipam(&input, &rig.places)] {
            assert!(outcome.success);
            let version = if stdin.contains("0.4.0") { "0.4.0" } else { "1.0.0" };
            assert_eq!(
                outcome.stdout,
                format!(
                    "{{\"cniVersion\":\"{version}\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\
                     \"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\"]}}"
                )
            );
        }
    }
}
