//! A DNS server on loopback that answers from a table, over UDP and TCP on the same port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

/// How lookups of a name fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The server answers SERVFAIL.
    ServFail,
    /// The server answers NXDOMAIN.
    NxDomain,
    /// The server does not answer.
    Silence,
}

/// The server. It stops when dropped.
///
/// A name without records and without a configured failure does not exist. A name that has only
/// records of other types has no data. Negative answers have an SOA with a minimum of 0 and must
/// not be cached.
#[derive(Debug)]
pub struct FakeDns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [AbortHandle; 2],
}

#[derive(Debug, Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<String>>,
    trouble: HashMap<String, Trouble>,
    ttl: u32,
    truncate_udp: bool,
    asked: Vec<(String, String)>,
}

impl FakeDns {
    /// Starts with an empty zone on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let (tcp, udp) = bind().await;
        let address = tcp.local_addr().expect("a bound socket has an address");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let tasks = [
            tokio::spawn(serve_udp(udp, Arc::clone(&zone))).abort_handle(),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&zone))).abort_handle(),
        ];
        Self {
            address,
            zone,
            tasks,
        }
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the records of one name and type: `set("dest.test", "MX", &["10 mx.dest.test"])`.
    ///
    /// Types: A, AAAA, MX, CNAME, TXT, PTR. Without values the name exists but has no data of that
    /// type.
    pub fn set(&self, name: &str, kind: &str, values: &[&str]) {
        let kind = RecordType::from_str(kind).expect("a record type");
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        for value in &values {
            rdata(kind, value);
        }
        let mut zone = self.zone();
        zone.trouble.remove(name);
        zone.records.insert((name.to_owned(), kind), values);
    }

    /// Makes every lookup of `name` fail from now on.
    pub fn fail(&self, name: &str, trouble: Trouble) {
        self.zone().trouble.insert(name.to_owned(), trouble);
    }

    /// Sets the TTL of positive answers in seconds. It is 0 at the start.
    pub fn set_ttl(&self, seconds: u32) {
        self.zone().ttl = seconds;
    }

    /// Sets whether answers over UDP are truncated, so that the client must repeat the query over
    /// TCP.
    pub fn truncate_udp(&self, truncate: bool) {
        self.zone().truncate_udp = truncate;
    }

    /// The name and type of every query so far, in order.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.zone().asked.clone()
    }

    /// How often this query was received.
    pub fn times_asked(&self, name: &str, kind: &str) -> usize {
        let zone = self.zone();
        let questions = zone.asked.iter();
        questions.filter(|(n, k)| n == name && k == kind).count()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Binds a port of 127.0.0.1 that is free for both transports.
async fn bind() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = tcp.local_addr().expect("a bound socket has an address");
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (tcp, udp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let answer = {
            let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = zone.answer(&buffer[..length]);
            answer.map(|a| if zone.truncate_udp { a.truncate() } else { a })
        };
        if let Some(bytes) = answer.and_then(|a| a.to_vec().ok()) {
            // The client may be gone.
            let _ = socket.send_to(&bytes, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_stream(stream, Arc::clone(&zone)));
    }
}

/// Serves messages, each after its length in two octets (RFC 1035 §4.2.2), until the client closes.
async fn serve_stream(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let answer = zone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&question);
        if let Some(bytes) = answer.and_then(|a| a.to_vec().ok()) {
            let length = u16::try_from(bytes.len()).expect("answers are small");
            stream.write_u16(length).await?;
            stream.write_all(&bytes).await?;
        }
    }
}

impl Zone {
    fn answer(&mut self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let name = text(query.name());
        let kind = query.query_type();
        self.asked.push((name.clone(), kind.to_string()));
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        self.fill(&mut answer, name, kind)?;
        Some(answer)
    }

    /// Follows aliases like a recursive server. `None` means no answer.
    fn fill(&self, answer: &mut Message, mut name: String, kind: RecordType) -> Option<()> {
        for _ in 0..8 {
            match self.trouble.get(&name) {
                Some(Trouble::Silence) => return None,
                Some(Trouble::ServFail) => {
                    answer.metadata.response_code = ResponseCode::ServFail;
                    return Some(());
                }
                Some(Trouble::NxDomain) => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    break;
                }
                None => {}
            }
            if let Some(values) = self.records.get(&(name.clone(), kind)) {
                self.add(answer, &name, kind, values);
                break;
            }
            let alias = self.records.get(&(name.clone(), RecordType::CNAME));
            let Some(target) = alias.and_then(|values| values.first()) else {
                if !self.records.keys().any(|(n, _)| *n == name) {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                break;
            };
            self.add(
                answer,
                &name,
                RecordType::CNAME,
                std::slice::from_ref(target),
            );
            name.clone_from(target);
        }
        if answer.answers.is_empty() {
            answer.add_authority(uncached_soa(&name));
        }
        Some(())
    }

    fn add(&self, answer: &mut Message, name: &str, kind: RecordType, values: &[String]) {
        for value in values {
            answer.add_answer(Record::from_rdata(
                absolute(name),
                self.ttl,
                rdata(kind, value),
            ));
        }
    }
}

/// The SOA of a negative answer that must not be cached (RFC 2308 §5).
fn uncached_soa(name: &str) -> Record {
    let zone = name.rsplit('.').next().unwrap_or(name);
    let soa = SOA::new(
        absolute("ns.test"),
        absolute("hostmaster.test"),
        1,
        60,
        60,
        60,
        0,
    );
    Record::from_rdata(absolute(zone), 0, RData::SOA(soa))
}

fn rdata(kind: RecordType, value: &str) -> RData {
    match kind {
        RecordType::A => RData::A(A(value.parse().expect("an IPv4 address"))),
        RecordType::AAAA => RData::AAAA(AAAA(value.parse().expect("an IPv6 address"))),
        RecordType::CNAME => RData::CNAME(CNAME(absolute(value))),
        RecordType::PTR => RData::PTR(PTR(absolute(value))),
        RecordType::TXT => RData::TXT(TXT::new(strings(value))),
        RecordType::MX => {
            let (preference, host) = value.split_once(' ').expect("preference and host");
            let preference = preference.parse().expect("a preference");
            RData::MX(MX::new(preference, absolute(host)))
        }
        other => panic!("the fake DNS has no {other} records"),
    }
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a host name");
    name.set_fqdn(true);
    name
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// Splits a text into strings of at most 255 octets (RFC 1035 §3.3).
fn strings(text: &str) -> Vec<String> {
    let strings = text.as_bytes().chunks(255);
    let strings = strings.map(|string| String::from_utf8_lossy(string).into_owned());
    // A record has at least one string.
    strings.chain(text.is_empty().then(String::new)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    async fn ask(dns: &FakeDns, name: &str, kind: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let mut question = Message::query();
        question.add_query(Query::query(absolute(name), kind));
        let bytes = question.to_vec().expect("a question");
        socket.send_to(&bytes, dns.address()).await.expect("sent");
        let mut buffer = [0; 4096];
        let answer = tokio::time::timeout(crate::DEADLINE, socket.recv(&mut buffer));
        let length = answer.await.expect("an answer in time").expect("an answer");
        Message::from_vec(&buffer[..length]).expect("a message")
    }

    #[tokio::test]
    async fn answers_follow_the_table() {
        let dns = FakeDns::start().await;
        dns.set("dest.test", "MX", &["10 mx.dest.test", "20 mx2.dest.test"]);
        dns.set("alias.test", "CNAME", &["dest.test"]);
        dns.fail("broken.test", Trouble::ServFail);

        let answer = ask(&dns, "Dest.test", RecordType::MX).await;
        assert_eq!(answer.answers.len(), 2);
        let answer = ask(&dns, "alias.test", RecordType::MX).await;
        assert_eq!(answer.answers.len(), 3, "the alias and both records");
        let code = |m: Message| m.metadata.response_code;
        let missing = ask(&dns, "dest.test", RecordType::A).await;
        assert!(missing.answers.is_empty() && missing.authorities.len() == 1);
        assert_eq!(code(missing), ResponseCode::NoError);
        let unknown = ask(&dns, "other.test", RecordType::A).await;
        assert_eq!(code(unknown), ResponseCode::NXDomain);
        let broken = ask(&dns, "broken.test", RecordType::A).await;
        assert_eq!(code(broken), ResponseCode::ServFail);
        assert_eq!(dns.times_asked("dest.test", "MX"), 1);
    }
}
