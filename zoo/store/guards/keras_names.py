"""The classes of Keras that a model's config may name, by the module that it names them in: lists, kept by hand.

Whatever is on a list only computes, given any arguments: it opens no file and no address, and calls nothing but what
stands in the config beside it, which is judged in turn. A class that a newer Keras adds is put here after its
`__init__`, `from_config` and `call` have been read. Read last: Keras 3.15.1.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _names(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention AugMix
    AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
    CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D CutMix
    Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU
    GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
    GroupedQueryAttention HashedCrossing Hashing Identity InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking
    MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp MultiHeadAttention
    Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax
    Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D Wrapper ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
    """
)

# Layers that Keras 2 had and Keras 3 has not, with what to use instead. ThresholdedReLU is rewritten (`keras2`).
LAYERS_OF_KERAS_2 = {
    "LocallyConnected1D": "for LocallyConnected1D a Conv1D, which shares its kernel, or a Dense over all positions",
    "LocallyConnected2D": "for LocallyConnected2D a Conv2D, which shares its kernel, or a Dense over all positions",
    "DenseFeatures": "for DenseFeatures the layers of preprocessing (Normalization, CategoryEncoding, Embedding)",
    "RandomHeight": "for RandomHeight, which changes training alone, nothing, or RandomZoom",
    "RandomWidth": "for RandomWidth, which changes training alone, nothing, or RandomZoom",
    "CuDNNGRU": "for CuDNNGRU a GRU",
    "CuDNNLSTM": "for CuDNNLSTM an LSTM",
}

MODELS = frozenset({"Functional", "Model", "Sequential"})

INITIALIZERS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones
    Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling
    Zeros
    """
)
REGULARIZERS = frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"})
CONSTRAINTS = frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"})
DTYPE_POLICIES = frozenset({"DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy"})
# What `model.quantize("int8")` and the like leave; GPTQ and AWQ configs may hold data sets and tokenizers.
QUANTIZED_POLICIES = frozenset({"Int4DTypePolicy", "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy"})
QUANTIZERS = frozenset(
    {"AbsMaxQuantizer", "Float8QuantizationConfig", "Int4QuantizationConfig", "Int8QuantizationConfig"}
)

# Operations of a functional model (`x + y`, `keras.ops.exp(x)`). Those that take functions are missing on purpose.
OPERATIONS = {
    "keras.src.activations.activations": frozenset({"Mish", "ReLU"}),
    "keras.src.ops.core": _names(
        """
        Cast ConvertToTensor SaturateCast Scatter ScatterUpdate Slice SliceUpdate StopGradient Unstack
        """
    ),
    "keras.src.ops.einops": frozenset({"Rearrange"}),
    "keras.src.ops.image": _names(
        """
        AffineTransform CropImages ElasticTransform ExtractPatches GaussianBlur HSVToRGB MapCoordinates PadImages
        PerspectiveTransform RGBToGrayscale RGBToHSV Resize SSIM ScaleAndTranslate SobelEdges
        """
    ),
    "keras.src.ops.linalg": _names(
        """
        Cholesky CholeskyInverse Det Eig Eigh Inv Lstsq LuFactor MatrixRank Norm Pinv Qr SVD Solve SolveTriangular
        """
    ),
    "keras.src.ops.math": _names(
        """
        CDist Erf Erfc Erfinv ExtractSequences FFT FFT2 IFFT2 IRFFT ISTFT InTopK Logdet Logsumexp RFFT Rsqrt STFT
        SegmentMax SegmentMin SegmentProd SegmentSum TopK ViewAsComplex ViewAsReal
        """
    ),
    "keras.src.ops.nn": _names(
        """
        AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm BinaryCrossentropy CTCDecode CTCLoss
        CategoricalCrossentropy Celu Conv ConvTranspose DepthToSpace DepthwiseConv DotProductAttention Elu Fold Gelu
        Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments MultiHot
        Normalize OneHot PSNR Polar RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink Softmax Softplus
        Softsign SpaceToDepth SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Squareplus TanhShrink
        Threshold Unfold
        """
    ),
    "keras.src.ops.numpy": _names(
        """
        Abs Absolute Add All AllClose Amax Amin Angle Any Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2
        Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit Average Bincount BitwiseAnd BitwiseInvert
        BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo Cbrt Ceil Clip Concatenate Conj
        Conjugate Copy Corrcoef Correlate Cos Cosh CountNonzero Cross Cumprod Cumsum Deg2rad Diag Diagflat Diagonal
        Diff Digitize Divide DivideNoNan Dot Dsplit Dstack Einsum EmptyLike Equal Exp Exp2 ExpandDims Expm1 Fabs Flip
        Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Full FullLike Gcd Geomspace GetItem Greater GreaterEqual
        Heaviside Histogram Hsplit Hstack Hypot I0 Imag Inner IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf
        Isreal Kron Lcm Ldexp LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd
        LogicalNot LogicalOr LogicalXor Logspace Matmul Max Maximum Mean Median Meshgrid Min Minimum Mod Moveaxis
        Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile
        Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero NotEqual OnesLike Outer Pad Percentile
        Power Prod Ptp Quantile Rad2deg Ravel Real Reciprocal Repeat Reshape RightShift Roll Rot90 Round SearchSorted
        Select Sign Signbit Sin Sinc Sinh Size Slogdet Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes
        Take TakeAlongAxis Tan Tanh Tensordot Tile Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unique
        UnravelIndex Vander Var Vdot View Vsplit Vstack Where ZerosLike
        """
    ),
}

# Layers that the nets of keras.applications define for themselves.
APPLICATIONS = {
    "keras.src.applications.convnext": frozenset({"LayerScale", "StochasticDepth"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
}

# By the module that a config names. Keras looks a class up in the first of its public modules.
CLASSES = {
    "keras": MODELS - {"Functional"} | DTYPE_POLICIES - {"DTypePolicyMap"},
    "keras.constraints": CONSTRAINTS,
    "keras.dtype_policies": DTYPE_POLICIES | QUANTIZED_POLICIES,
    "keras.initializers": INITIALIZERS,
    "keras.layers": LAYERS,
    "keras.models": MODELS - {"Functional"},
    "keras.quantizers": QUANTIZERS,
    "keras.random": frozenset({"SeedGenerator"}),
    "keras.regularizers": REGULARIZERS,
    "keras.src.models.functional": frozenset({"Functional"}),
    **APPLICATIONS,
    **OPERATIONS,
}

# Records without a module, as `.h5` files have them: of layers, and of what layers hold. Keras has tables for these.
BARE = LAYERS | MODELS | INITIALIZERS | REGULARIZERS | CONSTRAINTS | DTYPE_POLICIES | QUANTIZED_POLICIES | QUANTIZERS

# Functions beside the layers in Keras, which it takes texts in records without module for.
LAYER_FUNCTIONS = _names("Input add average concatenate deserialize dot maximum minimum multiply serialize subtract")

# Where a record of an `.h5` file belongs although Keras' own table for such records lacks it.
UNLISTED_LAYERS = {name: module for module, names in APPLICATIONS.items() for name in names}
UNLISTED_OPERATIONS = {name: module for module, names in OPERATIONS.items() for name in names}

# Names by which Keras takes functions and small objects, by the end of the key that they stand under.
ACTIVATIONS = _names(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
    sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
NAMES = {
    "activation": ACTIVATIONS,
    "initializer": INITIALIZERS
    | _names(
        """
        constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform normal one ones
        orthogonal random_normal random_uniform stft truncated_normal uniform variance_scaling zero zeros
        """
    ),
    "regularizer": REGULARIZERS | {"l1", "l1l2", "l2", "orthogonal_regularizer"},
    "constraint": CONSTRAINTS | {"max_norm", "min_max_norm", "non_neg", "unit_norm"},
}

_CODE = (
    "it holds Python code, which runs when the model is loaded or used; build it from other layers, or write a class"
)
_TEXT = (
    "it reads its vocabulary from a file or an address of the model's choosing when it is loaded; save the model "
    "without it, and look the words up before the model"
)
_WORDS = f"{_TEXT}; or give it its words as a list, which is kept in the model: vocabulary=layer.get_vocabulary()"
_FOREIGN = "it runs what another library has put into the file; build it from layers of Keras"
_BY_NAME = (
    "it calls any function of TensorFlow by its name, and Keras 3 has no such layer; build the model in Keras 3, load "
    "its weights there and save it as .keras"
)

# Why what must never pass is refused (but for what `keras_vocabularies` tells of one layer); anything else that is not
# above is refused for that.
REFUSED = {
    "Lambda": _CODE,
    "__lambda__": _CODE,
    "TFSMLayer": "it loads a SavedModel of the model's choosing, and that is a program; convert the SavedModel itself",
    "StringLookup": _TEXT,
    "IntegerLookup": _TEXT,
    "IndexLookup": _TEXT,
    "TextVectorization": _WORDS,
    "FeatureSpace": _TEXT,
    "TorchModuleWrapper": _FOREIGN,
    "JaxLayer": _FOREIGN,
    "FlaxLayer": _FOREIGN,
    **dict.fromkeys(
        ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"),
        _BY_NAME,
    ),
    **dict.fromkeys(("CompositeTensor", "TypeSpec", "__typespec__"), "it lets the file choose a class of TensorFlow"),
    **dict.fromkeys(
        ("deserialize", "get_file", "keras_export", "load_model", "model_from_json", "serialize"),
        "it is a function, no layer, and it would be called",
    ),
    **dict.fromkeys(
        ("AssociativeScan", "Cond", "ForiLoop", "JVP", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop"),
        "it calls functions that the file names; build it from layers of Keras",
    ),
}
