//! `calico-kubeconfig`, which only plugins need that ask the API server themselves: absent, unreadable,
//! and with tokens of other times.

use super::{delete_pod, has};
use crate::cluster::{Cluster, LIMIT};
use crate::manifest::calico_ipam;
use crate::workloads::start;

const FILE: &str = "/etc/cni/net.d/calico-kubeconfig";
/// A file that calico-node does not mend.
const COPY: &str = "/tmp/calico-kubeconfig";
/// What a plugin says whatever is wrong with the file.
const STEP: &str = "calico-node writes this file";

/// Prints a token of the plugin's account, signed as the API server does, valid from $1 to $2 seconds
/// from now (RFC 7519; ECDSA's two numbers side by side as in RFC 7518, 3.4).
const TOKEN: &str = r#"
set -e
uid=$(KUBECONFIG=/etc/kubernetes/admin.conf kubectl get serviceaccount -n kube-system \
    calico-cni-plugin -o 'jsonpath={.metadata.uid}')
now=$(date +%s)
text() { basenc --base64url -w0 | tr -d =; }
head=$(printf '{"alg":"ES256","typ":"JWT"}' | text)
body=$(printf '{"iss":"https://kubernetes.default.svc","aud":["https://kubernetes.default.svc"],
    "sub":"system:serviceaccount:kube-system:calico-cni-plugin","iat":%d,"nbf":%d,"exp":%d,
    "kubernetes.io":{"namespace":"kube-system","serviceaccount":{
        "name":"calico-cni-plugin","uid":"%s"}}}' \
    $((now + $1)) $((now + $1)) $((now + $2)) $uid | text)
printf %s "$head.$body." | sed 's/\.$//' >/tmp/unsigned
openssl dgst -sha256 -sign /etc/kubernetes/pki/sa.key /tmp/unsigned |
    openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p' |
    while read -r number; do printf '%64s' "$number" | tr ' ' 0; done |
    basenc --base16 -d | text >/tmp/signature
printf '%s.%s' "$(cat /tmp/unsigned)" "$(cat /tmp/signature)"
"#;

pub(super) fn are_told_and_mended(cluster: &Cluster) {
    let good = cluster.run("n1", &format!("cat {FILE}"));
    let with_token = |from: i64, to: i64| {
        let line = format!("set -- {from} {to}; {TOKEN}");
        let token = cluster.run("control-plane", &line);
        assert_eq!(token.split('.').count(), 3, "{token}");
        let lines = good.lines().map(|line| match line.trim().strip_prefix("token: ") {
            Some(_) => format!("    token: {token}\n"),
            None => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    let hour = 3600;
    let refused = "Unauthorized with the credentials of";
    let cases: [(&str, Option<String>, &str); 5] = [
        ("absent", None, "No such file"),
        ("garbage", Some("\u{1}banana".to_owned()), "cannot be used"),
        ("of nobody", Some(good.replace("token: ", "token: x")), refused),
        ("expired", Some(with_token(-2 * hour, -hour)), refused),
        ("of the future", Some(with_token(hour, 2 * hour)), refused),
    ];
    for (which, text, said) in cases {
        write(cluster, "n1", COPY, text.as_deref());
        let (added, answer) = ask(cluster, "n1", "ADD", COPY);
        assert!(!added && has(&answer, &[COPY, said, STEP]), "{which}: {answer}");
        let logged = cluster.run("n1", "tail -n1 /var/log/calico/cni/cni.log");
        assert!(has(&logged, &[COPY, said, STEP]), "{which}: {logged}");
    }
    // A token that differs in its times alone is taken.
    write(cluster, "n1", COPY, Some(&with_token(-hour, hour)));
    for command in ["ADD", "DEL"] {
        let (succeeded, answer) = ask(cluster, "n1", command, COPY);
        assert!(succeeded, "{command}: {answer}");
    }
    // Pods need none of it, and calico-node mends its own file.
    write(cluster, "n1", FILE, Some("banana"));
    write(cluster, "n2", FILE, None);
    for node in ["n1", "n2"] {
        start(cluster, &format!("on-{node}"), "bank", node);
    }
    for node in ["n1", "n2"] {
        cluster.within(LIMIT, "calico-node writes the file anew", |cluster| {
            ["ADD", "DEL"].iter().all(|command| ask(cluster, node, command, FILE).0)
        });
        delete_pod(cluster, &format!("on-{node}"), "bank");
    }
}

fn write(cluster: &Cluster, node: &str, file: &str, text: Option<&str>) {
    match text {
        None => cluster.run(node, &format!("rm -f {file}")),
        Some(text) => cluster.run(node, &format!("cat >{file} <<'END'\n{text}\nEND")),
    };
}

/// calico-ipam of another plugin, with the credentials of a file.
fn ask(cluster: &Cluster, node: &str, command: &str, file: &str) -> (bool, String) {
    cluster.try_run(node, &calico_ipam(command, "bad1", "").replace(FILE, file))
}
