// SPDX-License-Identifier: Apache-2.0
// PlainText: words from elsewhere (a server, a library, a process) as text that everything behind
// us can keep. A run's reason goes into protobuf, which reads only UTF-8, and from there into
// Airflow's database, which may refuse a NUL.
//
// Pure. Threads: any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace zkexec {

// Of the words of a run's report, which go through ZooKeeper.
inline constexpr std::size_t kInfoBytesMax = 2000;

// `text` as UTF-8 of at most `bytes_max` bytes, cut between characters. U+FFFD stands for each
// control character but newline and tab, and for each byte that is not part of a character.
std::string PlainText(std::string_view text, std::size_t bytes_max);

}  // namespace zkexec
