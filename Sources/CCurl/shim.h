// libcurl. Swift cannot call C variadic functions, so each argument kind of curl_easy_setopt,
// curl_easy_getinfo and curl_multi_setopt gets a typed inline of one line.
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

typedef size_t (*cp_curl_sink)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode cp_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode cp_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode cp_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode cp_curl_set_sink(CURL *handle, CURLoption option, cp_curl_sink value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode cp_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}
static inline CURLcode cp_curl_get_pointer(CURL *handle, CURLINFO info, void **value) {
    return curl_easy_getinfo(handle, info, value);
}
// The finished transfer of a message: a union that Swift would import by its first field only.
static inline CURLcode cp_curl_message_result(const CURLMsg *message) { return message->data.result; }

// Few unsent bytes in the kernel: those given to libcurl are then nearly those that have left, so that a connection that moves slowly
// can be told from one that does not. Unix sockets refuse the option, and do without.
static inline int cp_limit_unsent(void *bytes, curl_socket_t socket, curlsocktype purpose) {
    (void)purpose;
    unsigned value = (unsigned)(size_t)bytes;
    setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
    return CURL_SOCKOPT_OK;
}
static inline CURLcode cp_curl_limit_unsent(CURL *handle, unsigned bytes) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_SOCKOPTDATA, (void *)(size_t)bytes);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_SOCKOPTFUNCTION, cp_limit_unsent);
}

// The same; and a connection that is closed before its time takes with it what the kernel would still send, also when the process is killed.
static inline int cp_limit_unsent_and_reset(void *bytes, curl_socket_t socket, curlsocktype purpose) {
    struct linger at_once = {1, 0};
    if (setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) return CURL_SOCKOPT_ERROR;
    return cp_limit_unsent(bytes, socket, purpose);
}
// After cp_curl_limit_unsent, whose limit it keeps.
static inline CURLcode cp_curl_reset_on_close(CURL *handle) {
    return curl_easy_setopt(handle, CURLOPT_SOCKOPTFUNCTION, cp_limit_unsent_and_reset);
}
