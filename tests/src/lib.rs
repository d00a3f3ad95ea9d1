//! What the end-to-end tests share: starting the real `relayd`, asking `relayctl`.
