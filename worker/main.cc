// SPDX-License-Identifier: Apache-2.0
#include "worker/daemon.h"

int main(int argc, char** argv) { return zkexec::RunDaemon(zkexec::Flags::Parse(argc, argv)); }
