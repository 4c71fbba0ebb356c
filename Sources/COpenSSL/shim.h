// libcrypto, for the signature of audit reports. Some names are macros in one release of OpenSSL and functions in another; Swift sees
// functions only, so they get an inline of one line.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static inline int cp_key_kind(const EVP_PKEY *key) { return EVP_PKEY_base_id(key); }
static inline int cp_key_bits(const EVP_PKEY *key) { return EVP_PKEY_bits(key); }
static inline int cp_sign(EVP_MD_CTX *context, unsigned char *signature, size_t *size, const unsigned char *bytes, size_t count) {
    return EVP_DigestSign(context, signature, size, bytes, count);
}
