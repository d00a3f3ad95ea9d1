//! Creates what the demo's relay needs: a configuration file, a certificate, a signing key and a
//! user.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rcgen::CertifiedKey;
use relay_dkim::{Algorithm, GeneratedKey};
use relay_users::{Editing, Secret, User};

use crate::config::Config;

/// The user who may log in. All connections are from loopback, which may relay without a login
/// anyway.
pub(super) const USER: &str = "demo";
pub(super) const PASSWORD: &str = "demo";
/// The preferred ports of the demo, because they are easy to remember.
const USUAL_PORTS: [u16; 2] = [2525, 2587];

/// Returns the path of the demo's configuration file in this directory.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("relayd.toml")
}

/// Creates all files in the directory. The configuration has the usual defaults, but all listeners
/// are on loopback, and all mail goes to the receiving server.
pub(super) fn prepare(
    dir: &Path,
    internet: SocketAddr,
) -> Result<Config, Box<dyn Error + Send + Sync>> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([internet.ip().to_string(), "localhost".to_owned()])?;
    fs::write(dir.join("cert.pem"), cert.pem())?;
    fs::write(dir.join("key.pem"), signing_key.serialize_pem())?;
    // Ed25519 signatures are the shorter ones, so they are easier to read.
    let key = GeneratedKey::generate(Algorithm::Ed25519)?;
    key.write_new(&dir.join("dkim.pem"))?;
    let mut editing = Editing::open(&dir.join("users"))?;
    let user = User::with_password(&Secret::new(PASSWORD)?, Vec::new())?;
    editing.users.set(USER.parse()?, user)?;
    editing.save(None)?;
    fs::write(file(dir), configuration(dir, internet))?;
    Ok(Config::load(&file(dir))?)
}

fn configuration(dir: &Path, internet: SocketAddr) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let [relay, submission] =
        USUAL_PORTS.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(port))));
    format!(
        "hostname = \"relay.example.org\"\n\
         state_dir = {:?}\n\
         [[listener]]\naddress = \"{relay}\"\nrole = \"mx\"\n\
         [[listener]]\naddress = \"{submission}\"\nrole = \"submission\"\n\
         [tls]\ncertificate = {certificate:?}\nkey = {:?}\n\
         [auth]\nusers = {:?}\n\
         [delivery]\nca_file = {certificate:?}\n\
         [[dkim]]\ndomain = \"example.org\"\nselector = \"demo\"\nkey = {:?}\n\
         [[route]]\ndomain = \"*\"\nhost = [\"{}\"]\nport = {}\n\
         [control]\nsocket = {:?}\n",
        path("state"),
        path("key.pem"),
        path("users"),
        path("dkim.pem"),
        internet.ip(),
        internet.port(),
        path("control.sock"),
        certificate = path("cert.pem"),
    )
}

/// Returns the usual port, or any free port if it is in use.
fn free_port(usual: u16) -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).map_or(0, |_| usual)
}
