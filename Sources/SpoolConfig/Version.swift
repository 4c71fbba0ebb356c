/// Of both programs and of the package.
public let coldpathVersion = "0.1.0"
