import SpoolFormat
import SpoolRing

/// Why a ring's row was refused, in the words that a JSON event would get.
enum RingRefusal {
    /// - Parameter row: the one row that failed.
    static func refusal(of row: RingRows, _ fault: RowGather.Fault, plan: RowPlan) -> Refusal {
        switch fault {
        case .sharedBytes: return Refusal("its texts and arrays share bytes, or are longer than the row", table: plan.schema.table)
        case .column(let index):
            let column = plan.schema.columns[index]
            return Refusal(reason(plan.ruledBy(column: index)), table: plan.schema.table, field: column.name)
        }
    }

    static func time(_ time: Int64, table: String, field: String) -> Refusal {
        Refusal("\(time) ns is outside \(EventTime.rangeText)", table: table, field: field)
    }

    private static func reason(_ type: ColumnType) -> String {
        let value: String =
            switch type.scalar {
            case .bool: "a Bool other than 0 and 1"
            case .dateTime64, .dateTime: "a time outside \(EventTime.rangeText)"
            case .decimal(let precision, _): "a decimal of more than \(precision) digits"
            case .enum8, .enum16: "a value that is not one of the enum's"
            case .string: "a text that is not UTF-8, lies outside of its row, or is a name that the ring does not have"
            case .int, .uint, .float32, .float64, .date, .uuid, .fixedString: "a value that lies outside of its row"
            }
        switch type.shape {
        case .plain: return value
        case .nullable: return "\(value), or a null byte other than 0 and 1"
        case .array: return "\(value), or an array that lies outside of its row"
        }
    }
}
