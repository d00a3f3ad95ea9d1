//! The whole of `send` under a manual clock: a week in milliseconds, outcome and timeline asserted.

mod bounces;
mod destinations;
mod faults;
mod retries;
mod steering;
mod world;
