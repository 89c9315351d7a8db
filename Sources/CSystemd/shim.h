#pragma once

// The C library's declarations belong to Swift's Glibc. Without this, those that systemd's headers pull in (SOCK_STREAM
// and the like) may count as this module's, and then "import Glibc" no longer finds them.
#pragma clang module import SwiftGlibc

#include <systemd/sd-bus.h>
#include <systemd/sd-bus-protocol.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
