//! The policies of the network, beside what the pods are configured by: each URL is reachable, and nothing else.

use std::{collections::BTreeSet, net::Ipv4Addr};

use reqwest::Url;
use serde_json::Value;

use super::{Manifests, Pod, environment::variables, environments, helms, rendered, rendered_by};

/// Where a server is, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Namespace(String),
    Outside(Ipv4Addr),
}

impl Place {
    /// By the name: `NAME.NAMESPACE`, `NAME.NAMESPACE.svc…`, or a public one.
    fn of(host: &str) -> Self {
        let labels: Vec<_> = host.split('.').collect();
        match labels[..] {
            [_, namespace] | [_, namespace, "svc", ..] => Self::Namespace(namespace.to_owned()),
            // The addresses of documentation, in place of the host's own.
            _ => Self::Outside(Ipv4Addr::new(203, 0, 113, 10)),
        }
    }

    fn is_in(&self, peer: &Value) -> bool {
        match self {
            Self::Namespace(name) => {
                peer.pointer("/namespaceSelector/matchLabels/kubernetes.io~1metadata.name")
                    == Some(&Value::from(name.as_str()))
            }
            Self::Outside(address) => {
                let Some(block) = peer.get("ipBlock") else { return false };
                let except = block["except"].as_array().into_iter().flatten();
                contains(&block["cidr"], *address) && !except.into_iter().any(|part| contains(part, *address))
            }
        }
    }
}

fn contains(network: &Value, address: Ipv4Addr) -> bool {
    let (base, length) = network.as_str().unwrap().split_once('/').unwrap();
    let mask = u32::MAX.checked_shl(32 - length.parse::<u32>().unwrap()).unwrap_or(0);
    u32::from(base.parse::<Ipv4Addr>().unwrap()) & mask == u32::from(address) & mask
}

/// Whether a rule has the place and the port. A rule without peers or ports would be for all of them.
fn covers(rule: &Value, place: &Place, port: u16) -> bool {
    let peers = rule["to"].as_array().unwrap();
    let ports = rule["ports"].as_array().unwrap();
    assert!(!peers.is_empty() && !ports.is_empty(), "{rule}");
    peers.iter().any(|peer| place.is_in(peer))
        && ports.iter().any(|allowed| allowed["protocol"] == "TCP" && allowed["port"] == port)
}

/// The servers that the variables of a pod name.
fn servers(environment: &str, manifests: &Manifests, pod: &Pod<'_>) -> BTreeSet<(Place, u16)> {
    let variables = variables(environment, manifests, pod);
    // The issuer of tokens is a name, and the others are where browsers go: the service reads none of them.
    let read = |name: &str| {
        name != "ANALYTICS__AUTH__ISSUER" && !name.ends_with("__PUBLIC_URL") && !name.ends_with("__OPERATIONS_URL")
    };
    let urls = variables.iter().filter(|(name, value)| value.contains("://") && read(name));
    let mut found: BTreeSet<_> = urls
        .map(|(_, value)| Url::parse(value).unwrap())
        .filter(|url| url.host_str() != Some("localhost"))
        .map(|url| {
            let port = url.port_or_known_default().unwrap_or_else(|| match url.scheme() {
                "amqp" => 5672,
                "amqps" => 5671,
                "redis" | "rediss" => 6379,
                "postgresql" => 5432,
                other => panic!("{other}"),
            });
            (Place::of(url.host_str().unwrap()), port)
        })
        .collect();
    if variables.contains_key("ANALYTICS__OBJECTS__BUCKET") && !variables.contains_key("ANALYTICS__OBJECTS__ENDPOINT") {
        found.insert((Place::of("analytics.s3.eu-central-1.amazonaws.com"), 443));
    }
    found
}

/// What may be reached from a pod, apart from DNS: by all policies that select it.
fn egress<'m>(manifests: &'m Manifests, pod: &Pod<'_>) -> Vec<&'m Value> {
    let labels = pod.template["metadata"]["labels"].as_object().unwrap();
    let selects = |policy: &&Value| {
        let selector = policy.pointer("/spec/podSelector/matchLabels").unwrap().as_object().unwrap();
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    let policies: Vec<_> = manifests.of("NetworkPolicy").filter(selects).collect();
    assert_eq!(policies.len(), 1, "{}", pod.name());
    assert_eq!(policies[0]["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    let (names, others): (Vec<_>, Vec<_>) = policies[0]["spec"]["egress"]
        .as_array()
        .unwrap()
        .iter()
        .partition(|rule| rule["ports"].as_array().unwrap().iter().all(|port| port["port"] == 53));
    assert_eq!(names.len(), 1, "DNS");
    assert_eq!(names[0]["ports"].as_array().unwrap().len(), 2, "UDP and TCP");
    others
}

#[test]
fn every_url_is_reachable_and_nothing_else() {
    let mut seen = 0;
    for (environment, manifests) in environments() {
        for pod in manifests.pods() {
            let (servers, rules) = (servers(environment, manifests, &pod), egress(manifests, &pod));
            let at = format!("{environment}, {}", pod.name());
            assert!(!servers.is_empty(), "{at}");
            for (place, port) in &servers {
                assert!(rules.iter().any(|rule| covers(rule, place, *port)), "{at}: {place:?}, port {port}");
                seen += 1;
                // The same server by another port.
                for other in [22, 80, port + 1] {
                    let named = servers.contains(&(place.clone(), other));
                    let open = rules.iter().any(|rule| covers(rule, place, other));
                    assert!(!open || named, "{at}: {place:?}, port {other}");
                }
            }
            for rule in &rules {
                assert!(servers.iter().any(|(place, port)| covers(rule, place, *port)), "{at}: for nobody: {rule}");
                let ports = rule["ports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|port| u16::try_from(port["port"].as_u64().unwrap()).unwrap());
                for port in ports {
                    let elsewhere = [
                        Place::Namespace("default".to_owned()),
                        Place::Namespace("kube-system".to_owned()),
                        Place::Outside(Ipv4Addr::new(10, 1, 2, 3)),
                        // Credentials of the machine.
                        Place::Outside(Ipv4Addr::new(169, 254, 169, 254)),
                    ];
                    for place in elsewhere {
                        assert!(!covers(rule, &place, port), "{at}: {place:?}, port {port}");
                    }
                }
            }
        }
    }
    assert!(seen == 0 || seen > 20, "{seen}");
}

#[test]
fn a_host_that_only_looks_like_the_clusters_needs_a_place() {
    for program in helms() {
        let outside = r#"config.otlp.endpoint="https://a.kube-system.svc.example.com:4317""#;
        let said = rendered_by(&program, "dev", &[outside]).unwrap_err();
        assert!(said.contains("networkPolicy.otlp.to: must name where it is"), "{said}");
    }
}

/// That the rules follow the values, in both directions.
#[test]
fn a_url_that_moves_takes_its_rule_along() {
    let moved = r#"config.otlp.endpoint="http://traces.elsewhere.svc.cluster.local:4318""#;
    let Some(manifests) = rendered("staging", &[moved]) else { return };
    let pod = manifests.pod("analytics-service");
    let rules = egress(&manifests, &pod);
    let open = |namespace: &str, port| rules.iter().any(|rule| covers(rule, &Place::Namespace(namespace.into()), port));
    assert!(open("elsewhere", 4318) && !open("observability", 4317) && !open("elsewhere", 4317));

    // A port that the secret's URL has not.
    let manifests = rendered("staging", &["networkPolicy.database.port=6432"]).unwrap();
    let pod = manifests.pod("analytics-service");
    let rules = egress(&manifests, &pod);
    let closed = servers("staging", &manifests, &pod)
        .into_iter()
        .filter(|(place, port)| !rules.iter().any(|rule| covers(rule, place, *port)));
    assert_eq!(closed.collect::<Vec<_>>(), [(Place::Namespace("data".to_owned()), 5432)]);

    // Servers that are not used have no rule: staging has six.
    let manifests =
        rendered("staging", &[r#"config.objects.bucket="""#, r#"secrets.cache.name="""#, r#"config.auth.jwks_url="""#])
            .unwrap();
    assert_eq!(egress(&manifests, &manifests.pod("analytics-service")).len(), 3);
    let manifests = rendered("staging", &["networkPolicy.enabled=false"]).unwrap();
    assert_eq!(manifests.of("NetworkPolicy").count(), 0);
}

#[test]
fn the_stream_port_is_open_where_streams_are_read_by_it() {
    let open = |set: &[&str]| {
        let manifests = rendered("staging", set)?;
        let pod = manifests.pod("analytics-service");
        let rules = egress(&manifests, &pod);
        let data = Place::Namespace("data".to_owned());
        Some([5552, 5551].map(|port| rules.iter().any(|rule| covers(rule, &data, port))))
    };
    let Some(without) = open(&[]) else { return };
    assert_eq!(without, [false, false]);
    let key = r#"secrets.broker.streamKey="stream_url""#;
    assert_eq!(open(&[key]), Some([true, false]));
    assert_eq!(open(&[key, "networkPolicy.broker.streamPort=5551"]), Some([false, true]));
}

#[test]
fn a_server_without_a_place_is_refused() {
    for program in helms() {
        for (set, field) in [
            ("networkPolicy.database.to=[]", "networkPolicy.database.to"),
            ("networkPolicy.broker.to=[]", "networkPolicy.broker.to"),
            ("networkPolicy.cache.to=[]", "networkPolicy.cache.to"),
            ("networkPolicy.objects.to=[]", "networkPolicy.objects.to"),
            ("networkPolicy.jwks.to=[]", "networkPolicy.jwks.to"),
            (r#"config.console.oidc_issuer="https://id.example.com""#, "networkPolicy.consoleIssuer.to"),
            (r#"config.otlp.endpoint="https://traces.example.com""#, "networkPolicy.otlp.to"),
        ] {
            let error = rendered_by(&program, "staging", &[set]).unwrap_err();
            assert!(error.contains(&format!("{field}: must name where it is")), "{set}: {error}");
        }
    }
}

/// The API by its own peers, the operations port by Prometheus, jobs by nobody.
#[test]
fn each_port_has_its_own_callers() {
    for (environment, manifests) in environments() {
        for policy in manifests.of("NetworkPolicy") {
            let rules = policy["spec"]["ingress"].as_array();
            if policy["metadata"]["name"] != "analytics-service" {
                assert!(rules.is_none(), "{environment}");
                continue;
            }
            let callers = |port: &str| -> Vec<&Value> {
                let rules = rules.unwrap().iter().filter(|rule| rule["ports"][0]["port"] == port);
                rules.flat_map(|rule| rule["from"].as_array().unwrap()).collect()
            };
            assert_eq!((callers("http").len(), callers("operations").len()), (1, 1), "{environment}");
            assert!(Place::Namespace("monitoring".to_owned()).is_in(callers("operations")[0]), "{environment}");
        }
    }
    let Some(manifests) = rendered("dev", &["networkPolicy.api.from=[]", "networkPolicy.operations.from=[]"]) else {
        return;
    };
    assert!(
        manifests.get("NetworkPolicy", "analytics-service")["spec"]["ingress"].is_null(),
        "an empty list is nobody"
    );
    let manifests = rendered("dev", &["networkPolicy.dns.to=[]"]).unwrap();
    for policy in manifests.of("NetworkPolicy") {
        let rules = policy["spec"]["egress"].as_array().unwrap();
        assert!(rules.iter().all(|rule| rule["ports"][0]["port"] != 53), "an empty list is nobody");
    }
}
