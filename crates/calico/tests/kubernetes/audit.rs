//! What the API server's audit log says of Calico's accounts.

use crate::cluster::Cluster;
use serde_json::Value;
use std::collections::BTreeSet;

/// The accounts of what runs on every node.
pub(crate) const OF_NODES: &[&str] = &[AGENT, "calico-cni-plugin"];
/// The account of kube-controllers.
pub(crate) const OF_CONTROLLERS: &[&str] = &["calico-kube-controllers"];
/// The agents' account.
const AGENT: &str = "calico-node";

/// What a service account may do, or did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Permission {
    /// `calico-node`, `calico-cni-plugin` …
    pub(crate) account: String,
    /// `get`, `list` …
    pub(crate) verb: String,
    /// `pods/status`, `ippools.crd.projectcalico.org` …
    pub(crate) resource: String,
}

/// A permission that no cluster of the tests uses, and why it is there.
pub(crate) struct Unused {
    pub(crate) account: &'static str,
    pub(crate) verbs: &'static [&'static str],
    pub(crate) resources: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// A request of one of Calico's accounts.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    account: String,
    /// What it was about; `None` for what is no resource, e.g. `/apis`.
    permission: Option<Permission>,
    uri: String,
    /// Whence it came.
    source: String,
    code: u64,
}

/// Requests of Calico's accounts, in order.
pub(crate) struct Requests(Vec<Request>);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As `kubectl api-resources -o name` prints it.
fn resource(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

impl Request {
    fn of(event: &Value) -> Option<Request> {
        let user = text(&event["user"]["username"]);
        let account = user.strip_prefix("system:serviceaccount:kube-system:")?;
        let object = &event["objectRef"];
        let name = match text(&object["subresource"]) {
            part if part.is_empty() => text(&object["resource"]),
            part => format!("{}/{part}", text(&object["resource"])),
        };
        let permission = object["resource"].is_string().then(|| Permission {
            account: account.to_owned(),
            verb: text(&event["verb"]),
            resource: resource(&name, &text(&object["apiGroup"])),
        });
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        let account = account.to_owned();
        let (uri, source) = (text(&event["requestURI"]), text(&event["sourceIPs"][0]));
        Some(Request { account, permission, uri, source, code })
    }

    fn verb(&self) -> &str {
        self.permission.as_ref().map_or("get", |permission| permission.verb.as_str())
    }

    /// Whether it is what comes whatever pods do: a watch, or the look now and then whether the
    /// cluster has a kind of Kubernetes' by now that it had not.
    fn is_of_following(&self) -> bool {
        let looks = self.code == 404 && self.uri.ends_with("?limit=1");
        self.verb() == "watch" || (self.verb() == "list" && looks)
    }
}

impl Requests {
    /// All so far, of a cluster that was started with `--audit`.
    pub(crate) fn of(cluster: &Cluster) -> Requests {
        let line = "grep '\"system:serviceaccount:kube-system:calico-' /var/log/calico/audit.log";
        let log = cluster.run("control-plane", line);
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let requests: Vec<Request> = events.filter_map(|event| Request::of(&event)).collect();
        assert!(requests.len() > 20, "the audit log has few of Calico's requests: {log}");
        Requests(requests)
    }

    /// What something costs nodes and plugins: their requests as lines to read, without those that
    /// follow the cluster.
    pub(crate) fn cost(cluster: &Cluster, work: impl FnOnce(&Cluster)) -> Vec<String> {
        let after = Requests::during(cluster, work);
        let of_nodes = |request: &&Request| OF_NODES.contains(&request.account.as_str());
        let asked = after.iter().filter(of_nodes).filter(|request| !request.is_of_following());
        let line =
            |request: &Request| format!("{} {}: {}", request.verb(), request.uri, request.code);
        asked.map(line).collect()
    }

    /// Asserts that nothing is read anew while something happens: agents list nothing, and
    /// kube-controllers, which may lose its lease, no collection twice.
    pub(crate) fn assert_no_relist(cluster: &Cluster, work: impl FnOnce(&Cluster)) {
        let after = Requests::during(cluster, work);
        let lists = after.iter().filter(|one| one.verb() == "list" && !one.is_of_following());
        let mut seen = BTreeSet::new();
        for list in lists {
            assert_ne!(list.account, AGENT, "{} lists {}", list.source, list.uri);
            let again = !seen.insert((&list.account, &list.source, &list.uri));
            assert!(!again, "{} on {} lists {} twice", list.account, list.source, list.uri);
        }
        let watches = |one: &&Request| one.account == AGENT && one.verb() == "watch";
        println!(
            "{} watches by agents, {} lists by others",
            after.iter().filter(watches).count(),
            seen.len()
        );
    }

    /// What is asked while something happens.
    fn during(cluster: &Cluster, work: impl FnOnce(&Cluster)) -> Vec<Request> {
        let before = Requests::of(cluster).0.len();
        work(cluster);
        Requests::of(cluster).0.split_off(before)
    }

    /// What was asked for and not allowed, in order: `ACCOUNT VERB RESOURCE`.
    pub(crate) fn denied(&self) -> Vec<String> {
        let denied = self.0.iter().filter(|request| request.code == 403);
        let line = |request: &Request| match &request.permission {
            Some(Permission { account, verb, resource }) => format!("{account} {verb} {resource}"),
            None => format!("{} get {}", request.account, request.uri),
        };
        denied.map(line).collect()
    }

    /// Nothing was asked for that an account may not do.
    pub(crate) fn assert_none_denied(&self) {
        assert_eq!(self.denied(), [""; 0]);
    }

    /// Every permission of these accounts was used, those apart that are listed.
    pub(crate) fn assert_all_used(&self, cluster: &Cluster, accounts: &[&str], unused: &[Unused]) {
        let granted = granted(cluster, accounts);
        let theirs = self.0.iter().filter(|one| accounts.contains(&one.account.as_str()));
        let used = theirs.filter_map(|request| request.permission.clone());
        let used: BTreeSet<Permission> = used.collect();
        let listed: BTreeSet<Permission> = unused.iter().flat_map(Unused::permissions).collect();
        let never: Vec<_> = granted.iter().filter(|one| !used.contains(one)).collect();
        let unlisted: Vec<_> = never.iter().filter(|one| !listed.contains(one)).collect();
        assert!(unlisted.is_empty(), "never used, and no reason is listed: {unlisted:#?}");
        let outdated: Vec<_> = listed.iter().filter(|one| !granted.contains(one)).collect();
        assert!(outdated.is_empty(), "listed, and not in the manifest: {outdated:#?}");
        let beyond: Vec<_> = used.iter().filter(|one| !granted.contains(one)).collect();
        println!(
            "{} permissions, {} used, {} by others' roles",
            granted.len(),
            used.len(),
            beyond.len()
        );
    }
}

impl Unused {
    fn permissions(&self) -> Vec<Permission> {
        assert!(!self.reason.is_empty());
        let account = self.account.to_owned();
        permissions(&account, self.verbs, self.resources.iter().map(|one| (*one).to_owned()))
    }
}

fn permissions(
    account: &str,
    verbs: &[impl AsRef<str>],
    resources: impl Iterator<Item = String>,
) -> Vec<Permission> {
    let of_resource = |resource: String| {
        verbs.iter().map(move |verb| Permission {
            account: account.to_owned(),
            verb: verb.as_ref().to_owned(),
            resource: resource.clone(),
        })
    };
    resources.flat_map(of_resource).collect()
}

/// What the roles of the manifest allow; each has its account's name.
fn granted(cluster: &Cluster, accounts: &[&str]) -> BTreeSet<Permission> {
    let text = cluster.kubectl("get clusterroles,roles -n kube-system -o json");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    let roles = list["items"].as_array().expect("a list").iter();
    let mut granted = BTreeSet::new();
    for role in roles {
        let account = role["metadata"]["name"].as_str().unwrap_or_default();
        if !accounts.contains(&account) {
            continue;
        }
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in words(&rule["apiGroups"]) {
                let resources = words(&rule["resources"]);
                let resources = resources.iter().map(|name| resource(name, &group));
                granted.extend(permissions(account, &words(&rule["verbs"]), resources));
            }
        }
    }
    assert!(granted.len() > 20, "{granted:?}");
    granted
}
