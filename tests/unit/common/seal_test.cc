// SPDX-License-Identifier: Apache-2.0
#include "common/seal.h"

#include <gtest/gtest.h>

namespace zkexec {
namespace {

const char kSecret[] = "a secret of some length";
const char kToken[] = "{\"token\":\"eyJhbGciOiJIUzUxMiJ9.e30.signature\"}";

TEST(SealTest, OpensWhatItSealed) {
  const auto sealer = *Sealer::Make(kSecret);
  for (const std::string& plain : {std::string(), std::string(kToken), std::string(3 << 20, 'x')}) {
    const auto sealed = sealer.Seal(plain, "d1");
    ASSERT_TRUE(sealed);
    EXPECT_EQ(*sealer.Open(*sealed, "d1"), plain);
  }
}

TEST(SealTest, TokenIsNotReadableInTheSealedForm) {
  const auto sealed = Sealer::Make(kSecret)->Seal(kToken, "d1");
  EXPECT_EQ(sealed->find("eyJ"), std::string::npos);
  EXPECT_NE(*sealed, *Sealer::Make(kSecret)->Seal(kToken, "d1"));  // a nonce each time
}

TEST(SealTest, RefusesAnotherSecretAndSaysWhichOption) {
  const auto sealed = *Sealer::Make(kSecret)->Seal(kToken, "d1");
  const auto opened = Sealer::Make("another secret altogether")->Open(sealed, "d1");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kInvalid);
  EXPECT_NE(opened.error().message.find("encryption_key"), std::string::npos);
}

TEST(SealTest, RefusesAWorkloadMovedToAnotherDispatch) {
  const auto sealer = *Sealer::Make(kSecret);
  EXPECT_FALSE(sealer.Open(*sealer.Seal(kToken, "d1"), "d2"));
}

TEST(SealTest, RefusesEveryDamagedByte) {
  const auto sealer = *Sealer::Make(kSecret);
  const auto sealed = *sealer.Seal(kToken, "d1");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto damaged = sealed;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(sealer.Open(damaged, "d1")) << i;
    EXPECT_FALSE(sealer.Open(sealed.substr(0, i), "d1")) << i;
  }
}

TEST(SealTest, RefusesAShortSecret) { EXPECT_FALSE(Sealer::Make("short")); }

}  // namespace
}  // namespace zkexec
