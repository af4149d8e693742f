// SPDX-License-Identifier: Apache-2.0
#include "common/seal.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <zstd.h>

#include <memory>

namespace zkexec {
namespace {

constexpr char kForm = 1;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kHeadBytes = 1 + kNonceBytes;
// What a sealed workload may grow to: a wrong or hostile frame must not take the memory.
constexpr unsigned long long kPlainBytesMax = 64ULL << 20;
constexpr int kCompressionLevel = 3;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Error Broken(const std::string& why) {
  return Error{ErrorCode::kInvalid, "sealed workload: " + why};
}

}  // namespace

Result<Sealer> Sealer::Make(const std::string& secret) {
  if (secret.size() < 8) {
    return Error{ErrorCode::kInvalid,
                 "the secret that seals workloads must have at least 8 bytes: set [zk_executor] "
                 "encryption_key or [api] secret_key, the same on schedulers and workers"};
  }
  static constexpr char kInfo[] = "zk-executor workload v1";
  Key key{};
  std::size_t length = key.size();
  std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> kdf(
      EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr), EVP_PKEY_CTX_free);
  const bool ok =
      kdf && EVP_PKEY_derive_init(kdf.get()) > 0 &&
      EVP_PKEY_CTX_set_hkdf_md(kdf.get(), EVP_sha256()) > 0 &&
      EVP_PKEY_CTX_set1_hkdf_key(kdf.get(), Bytes(secret), static_cast<int>(secret.size())) > 0 &&
      EVP_PKEY_CTX_add1_hkdf_info(kdf.get(), reinterpret_cast<const unsigned char*>(kInfo),
                                  sizeof kInfo - 1) > 0 &&
      EVP_PKEY_derive(kdf.get(), key.data(), &length) > 0;
  if (!ok) return Error{ErrorCode::kInternal, "key derivation failed"};
  return Sealer(key);
}

Result<std::string> Sealer::Seal(const std::string& plain, const std::string& context) const {
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  // A context is dear to make, and has no state between two calls.
  thread_local const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> compressor(
      ZSTD_createCCtx(), ZSTD_freeCCtx);
  const auto size = ZSTD_compressCCtx(compressor.get(), packed.data(), packed.size(), plain.data(),
                                      plain.size(), kCompressionLevel);
  if (ZSTD_isError(size)) return Error{ErrorCode::kInternal, "zstd: compression failed"};
  packed.resize(size);

  std::string sealed(kHeadBytes + packed.size() + kTagBytes, '\0');
  sealed[0] = kForm;
  unsigned char* nonce = Bytes(sealed) + 1;
  unsigned char* body = Bytes(sealed) + kHeadBytes;
  CipherContext cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int written = 0;
  const bool ok =
      cipher && RAND_bytes(nonce, kNonceBytes) == 1 &&
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), nonce) == 1 &&
      EVP_EncryptUpdate(cipher.get(), nullptr, &written, Bytes(context),
                        static_cast<int>(context.size())) == 1 &&
      EVP_EncryptUpdate(cipher.get(), body, &written, Bytes(packed),
                        static_cast<int>(packed.size())) == 1 &&
      EVP_EncryptFinal_ex(cipher.get(), body + written, &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, body + packed.size()) == 1;
  if (!ok) return Error{ErrorCode::kInternal, "AES-GCM: encryption failed"};
  return sealed;
}

Result<std::string> Sealer::Open(const std::string& sealed, const std::string& context) const {
  if (sealed.size() < kHeadBytes + kTagBytes) return Broken("too short");
  if (sealed[0] != kForm) return Broken("of a form that this version can't read");
  std::string copy = sealed;
  const std::size_t packed_size = copy.size() - kHeadBytes - kTagBytes;
  std::string packed(packed_size, '\0');
  CipherContext cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int written = 0;
  int final_written = 0;
  const bool ok = cipher &&
                  EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                                     Bytes(copy) + 1) == 1 &&
                  EVP_DecryptUpdate(cipher.get(), nullptr, &written, Bytes(context),
                                    static_cast<int>(context.size())) == 1 &&
                  EVP_DecryptUpdate(cipher.get(), Bytes(packed), &written, Bytes(copy) + kHeadBytes,
                                    static_cast<int>(packed_size)) == 1 &&
                  EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes,
                                      Bytes(copy) + kHeadBytes + packed_size) == 1 &&
                  EVP_DecryptFinal_ex(cipher.get(), Bytes(packed) + written, &final_written) == 1;
  if (!ok) {
    return Broken(
        "damaged, or sealed with another secret: [zk_executor] encryption_key (or [api] "
        "secret_key) must be the same on schedulers and workers");
  }
  const auto plain_size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (plain_size == ZSTD_CONTENTSIZE_ERROR || plain_size == ZSTD_CONTENTSIZE_UNKNOWN ||
      plain_size > kPlainBytesMax) {
    return Broken("not a compressed workload");
  }
  std::string plain(plain_size, '\0');
  thread_local const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> decompressor(
      ZSTD_createDCtx(), ZSTD_freeDCtx);
  const auto size = ZSTD_decompressDCtx(decompressor.get(), plain.data(), plain.size(),
                                        packed.data(), packed.size());
  if (ZSTD_isError(size) || size != plain.size()) return Broken("decompression failed");
  return plain;
}

}  // namespace zkexec
