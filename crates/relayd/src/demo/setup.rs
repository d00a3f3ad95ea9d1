//! What the demo's relay is made of: a configuration file, a certificate, a key to sign with, a user.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rcgen::CertifiedKey;
use relay_dkim::{Algorithm, GeneratedKey};
use relay_users::{Editing, Secret, User};

use crate::config::Config;

/// Who may log in. Everything is on loopback, from where anybody may send anyway.
pub(super) const USER: &str = "demo";
pub(super) const PASSWORD: &str = "demo";
/// Where the demo listens if it can, for these are easy to remember.
const USUAL_PORTS: [u16; 2] = [2525, 2587];

/// The configuration file of a demo in this folder.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("relayd.toml")
}

/// Puts everything into the folder. The usual defaults, but all on loopback, and all mail to the
/// internet that is played there.
pub(super) fn prepare(dir: &Path, internet: SocketAddr) -> Result<Config, Box<dyn Error>> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([internet.ip().to_string(), "localhost".to_owned()])?;
    fs::write(dir.join("cert.pem"), cert.pem())?;
    fs::write(dir.join("key.pem"), signing_key.serialize_pem())?;
    // Of the two kinds the one whose signatures are short to look at.
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

/// The usual port, or any other if somebody has that one.
fn free_port(usual: u16) -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).map_or(0, |_| usual)
}
