// A producer in C++17: an order. In a clone, after `make build`:
//
//     .build/release/spool-writer codegen --lang c --schemas schemas --output /tmp/events.h
//     c++ -std=c++17 -O2 -I Sources/CSpoolRing/include -I /tmp clients/c/example.cpp -o /tmp/example++ && /tmp/example++ /tmp/coldpath/rings
#include "events.h"

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

spool_time now() {
    using namespace std::chrono;
    return spool_time(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

// A ring of the thread that makes it.
class Ring {
public:
    Ring(const std::string &directory, const std::string &producer) {
        if (spool_ring_open(&ring_, directory.c_str(), producer.c_str(), 1 << 20, coldpath_tables, COLDPATH_TABLE_COUNT) != 0)
            throw std::runtime_error(ring_.error);
    }
    ~Ring() { spool_ring_close(&ring_); }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    // The text must live as long as the name: a literal, or a string that stays.
    spool_name intern(std::string_view text) { return spool_intern_n(&ring_, text.data(), text.size()); }
    bool publish(const orders_row &row) { return orders_publish(&ring_, &row) == SPOOL_PUBLISHED; }
    bool wait_durable(std::chrono::milliseconds timeout) {
        return spool_ring_wait_durable(&ring_, spool_ring_position(&ring_), static_cast<int>(timeout.count())) != 0;
    }

private:
    spool_ring ring_;
};

} // namespace

int main(int argc, char **argv) try {
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " RINGS\n";
        return 64;
    }
    Ring ring(argv[1], "example-cpp");
    const spool_name symbol = ring.intern("BTCUSDT"), strategy = ring.intern("maker");
    const std::string id = "C-" + std::to_string(2);

    // What is not set is null, empty or the column's default. With C++20 designated initialisers do the same in one expression.
    orders_row row;
    row.ts_intent = now();
    row.ts_send = now(); // Nullable takes its value as it is
    row.client_order_id = id;
    row.strategy = strategy;
    row.symbol = symbol;
    row.side = orders_side_sell;
    row.qty = spool_decimal128_10(1250000000);
    row.limit_px = spool_decimal128_10(618005000000000);
    row.order_type = orders_order_type_limit;
    row.tif = orders_tif_gtc;
    row.status = orders_status_sent;
    if (!ring.publish(row)) {
        std::cerr << "example++: not published\n";
        return 1;
    }
    std::cout << (ring.wait_durable(std::chrono::seconds(2)) ? "durable\n" : "accepted; not durable yet, is spool-writer running with --rings?\n");
    return 0;
} catch (const std::exception &error) {
    std::cerr << "example++: " << error.what() << '\n';
    return 74;
}
