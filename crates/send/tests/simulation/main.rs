//! The whole of `send` under a manual clock: a week in milliseconds, outcome and timeline asserted.

mod answers;
mod bounces;
mod destinations;
mod dsn_options;
mod faults;
mod internet;
mod operator;
mod retries;
mod returns;
mod verbs;
mod watched;
mod world;
